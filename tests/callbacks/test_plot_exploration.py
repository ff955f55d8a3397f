"""`plot_exploration`: the lines are those of the closed forms."""

import keras
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import keras_rl_prob as krp

schedules = keras.optimizers.schedules


def drawn(monkeypatch, path, explorations, **arguments):
    """The axes of a plot over 1,000 steps, which is written to `path`."""
    saved, savefig = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **more: saved.append(self) or savefig(self, *args, **more)
    )
    krp.callbacks.plot_exploration(explorations, 1000, path, **arguments)
    return saved[0].axes[0]


def test_a_line_for_each_exploration_over_the_steps_of_the_training(tmp_path, monkeypatch):
    linear = krp.EpsilonGreedy(schedules.PolynomialDecay(1.0, 500, 0.1))
    compound = krp.EpsilonGreedy(schedules.ExponentialDecay(0.8, 1, 0.99), minimum=0.05)
    path = tmp_path / "new" / "epsilon.png"
    axes = drawn(monkeypatch, path, {"linear": linear, "compound": compound}, title="T")
    assert [file.name for file in path.parent.iterdir()] == ["epsilon.png"]
    assert Image.open(path).format == "PNG"
    lines = {line.get_label(): line.get_xydata().T for line in axes.lines}
    steps = np.linspace(0, 1000, 201)  # e0 - d t and e0 (1 - d)^t
    expected = {"linear": np.maximum(1.0 - 0.9 * steps / 500, 0.1), "compound": np.maximum(0.8 * 0.99**steps, 0.05)}
    assert list(lines) == list(expected)
    for label, (at, values) in lines.items():
        np.testing.assert_array_equal(at, steps)
        np.testing.assert_allclose(values, expected[label], rtol=1e-4)
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("T", "environment steps", "epsilon")


def test_the_label_of_the_values_is_what_they_are(tmp_path, monkeypatch):
    explorations = {"soft": krp.Boltzmann(0.5)}
    assert drawn(monkeypatch, tmp_path / "a.png", explorations).get_ylabel() == "temperature"
    explorations["greedy"] = krp.EpsilonGreedy(0.1)
    assert drawn(monkeypatch, tmp_path / "b.png", explorations).get_ylabel() == "epsilon or temperature"
