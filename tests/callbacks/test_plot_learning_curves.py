"""`plot_learning_curves`: the numbers from the logs, and the labels of the plot."""

import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import keras_rl_prob as krp

NAN = math.nan


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draws runs of logs, given as columns; returns the axes that were saved."""
    saved = []
    savefig = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **kwargs: saved.append(self) or savefig(self, *args, **kwargs)
    )

    def draw(runs, **arguments):
        files = {
            label: [log(tmp_path / f"{label}_{i}.csv", c) for i, c in enumerate(logs)] for label, logs in runs.items()
        }
        krp.callbacks.plot_learning_curves(files, tmp_path / "new" / "curves.png", **arguments)
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["curves.png"]
        return saved[-1].axes[0]

    return draw


def log(path, columns):
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(["epoch", *columns]), *(",".join(map(str, [i, *row])) for i, row in enumerate(rows))]
    path.write_text("\n".join(lines) + "\n")
    return path


def lines(axes):
    """Points of the mean lines, by label; and those of the thin lines of the seeds."""
    labelled = {line.get_label(): line.get_xydata().tolist() for line in axes.lines if line.get_label()[0] != "_"}
    return labelled, [line.get_xydata().tolist() for line in axes.lines if line.get_label()[0] == "_"]


def band(axes):
    """Lowest and highest return of the first band by environment steps."""
    points = axes.collections[0].get_paths()[0].vertices
    return {
        x: (points[points[:, 0] == x, 1].min(), points[points[:, 0] == x, 1].max()) for x in np.unique(points[:, 0])
    }


def test_seeds_are_interpolated_onto_the_steps_that_all_have(drawn):
    axes = drawn(
        {
            "PPO": [
                {"env_steps": [10, 20, 30], "return": [0.0, 10.0, 20.0]},
                {"env_steps": [15, 25], "return": [40.0, 60.0]},
                {"env_steps": [10, 30, 50], "return": [1.0, 3.0, 99.0]},
            ]
        }
    )
    mean, seeds = lines(axes)
    # at 15: 5, 40, 1.5; at 20: 10, 50, 2; at 25: 15, 60, 2.5
    np.testing.assert_allclose(mean["PPO (3 seeds)"], [[15, 46.5 / 3], [20, 62 / 3], [25, 77.5 / 3]])
    assert band(axes) == {15: (1.5, 40), 20: (2, 50), 25: (2.5, 60)}
    assert [len(seed) for seed in seeds] == [3, 2, 3], "a seed is drawn as far as it went"
    assert axes.get_xlabel() == "environment steps"
    assert axes.figure.legends[0].get_title().get_text() == "line: mean of the seeds, band: their range"


def test_what_is_no_number_is_left_out_and_steps_are_put_in_order(drawn):
    axes = drawn({"a": [{"env_steps": [30, "NA", 10, 20, 40], "return": [3.0, 9.0, 1.0, NAN, ""]}]})
    assert lines(axes)[0] == {"a": [[10, 1], [30, 3]]}
    assert axes.figure.legends[0].get_title().get_text() == "", "one seed has no mean to be explained"


@pytest.mark.parametrize(
    ("columns", "expected", "of"),
    [
        ({"return": [1.0], "eval_return": [2.0], "val_return": [3.0]}, 3.0, "evaluations"),
        ({"return": [1.0], "eval_return": [2.0], "val_return": ["NA"]}, 2.0, "evaluations"),
        ({"return": [1.0], "eval_return": [NAN]}, 1.0, "training episodes"),
        ({"return": [1.0]}, 1.0, "training episodes"),
    ],
)
def test_returns_are_those_of_evaluations_where_there_are_any(drawn, columns, expected, of):
    axes = drawn({"a": [{"env_steps": [5], **columns}]})
    assert lines(axes)[0] == {"a": [[5, expected]]}
    assert axes.get_ylabel() == f"mean return of {of}"


def test_all_seeds_of_a_label_are_drawn_by_the_same_kind_of_return(drawn):
    evaluated = {"env_steps": [5], "return": [1.0], "val_return": [9.0]}
    axes = drawn({"a": [evaluated, {"env_steps": [5], "return": [2.0]}], "b": [evaluated]})
    assert lines(axes)[0] == {"a (2 seeds), training episodes": [[5, 1.5]], "b, evaluations": [[5, 9.0]]}
    assert axes.get_ylabel() == "mean return"


def test_labels_have_colours_of_their_own_and_keep_their_order(drawn):
    runs = {name: [{"env_steps": [1, 2], "return": [1.0, i]}] * 2 for i, name in enumerate("zyxwvutsr")}
    axes = drawn(runs, title="Nine")
    colours = {line.get_label()[0]: line.get_color() for line in axes.lines if line.get_label()[0] != "_"}
    assert list(colours) == list(runs)
    assert len(set(list(colours.values())[:7])) == 7
    assert [text.get_text()[0] for text in axes.figure.legends[0].get_texts()] == list(runs)
    assert axes.get_title() == "Nine"


def test_seeds_without_common_steps_have_no_mean(drawn):
    axes = drawn({"a": [{"env_steps": [1, 2], "return": [1, 2]}, {"env_steps": [3, 4], "return": [3, 4]}]})
    assert lines(axes) == ({"a (2 seeds)": []}, [[[1, 1], [2, 2]], [[3, 3], [4, 4]]])


def test_the_picture_is_a_png_of_its_size(tmp_path):
    path = log(tmp_path / "log.csv", {"env_steps": [1, 2], "return": [1.0, 2.0]})
    krp.callbacks.plot_learning_curves({"a": [path]}, str(tmp_path / "a.png"))
    with Image.open(tmp_path / "a.png") as image:
        assert (image.format, image.size) == ("PNG", (1050, 675))


@pytest.mark.parametrize("runs", [{}, {"a": []}, {"a": "log.csv"}])
def test_runs_must_be_lists_of_logs(tmp_path, runs):
    with pytest.raises(
        ValueError, match=r'`runs` must be like \{"PPO": \["seed_0.csv", "seed_1.csv"\]\}\. Received: runs='
    ):
        krp.callbacks.plot_learning_curves(runs, tmp_path / "a.png")


@pytest.mark.parametrize(
    "content",
    ["", "epoch,loss\n0,1.0\n", "epoch,env_steps,return\n", "epoch,env_steps,return\n0,5,NA\n", "\x89\x00,\n"],
)
def test_a_log_without_returns_is_named(tmp_path, content):
    good = log(tmp_path / "good.csv", {"env_steps": [1], "return": [1.0]})
    (tmp_path / "bad.csv").write_text(content)
    with pytest.raises(ValueError, match=r"numbers in the columns `env_steps` and `return`. Received: '.*bad.csv'"):
        krp.callbacks.plot_learning_curves({"a": [good, tmp_path / "bad.csv"]}, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_a_log_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        krp.callbacks.plot_learning_curves({"a": [tmp_path / "nowhere.csv"]}, tmp_path / "a.png")


SEEDS = [
    {"env_steps": [1, 2, 3, 4], "return": [0.0] * 4, "entropy": [0.0, 4.0, 8.0, 30.0]},
    {"env_steps": [1, 2, 3, 4], "return": [9.0] * 4, "entropy": [4.0, 0.0, 8.0, 6.0]},
]


def test_any_metric_is_smoothed_over_the_epochs_before(drawn):
    """Means over three epochs, fewer at the start: 0, 2, 4, 14 and 4, 2, 4, 14/3."""
    axes = drawn({"PPO": SEEDS}, metric="entropy", smoothing=3)
    (mean,), thin = lines(axes)[0].values(), lines(axes)[1]
    np.testing.assert_allclose(np.array(thin)[..., 1], [[0, 2, 4, 14], [4, 2, 4, 14 / 3]])
    np.testing.assert_allclose(np.array(mean), [[1, 2], [2, 2], [3, 4], [4, 28 / 3]])
    assert axes.get_ylabel() == "entropy"


def test_a_band_of_a_standard_deviation(drawn):
    axes = drawn({"PPO": SEEDS}, metric="entropy", band="deviation", colours=["#123456"])
    assert band(axes) == {1: (0, 4), 2: (0, 4), 3: (8, 8), 4: (6, 30)}  # of two seeds, it is their range
    assert axes.lines[-1].get_color() == "#123456"
    axes = drawn({"PPO": [*SEEDS, SEEDS[0]]}, metric="entropy", band="deviation")
    mean, deviation = np.mean([0, 4, 0]), np.std([0, 4, 0])
    assert band(axes)[1] == pytest.approx((mean - deviation, mean + deviation))
    legend = axes.figure.legends[0].get_title().get_text()
    assert legend == "line: mean of the seeds, band: a standard deviation to each side"


@pytest.mark.parametrize(
    "wrong", [{"smoothing": 0}, {"smoothing": 1.5}, {"band": "all"}, {"metric": 3}, {"colours": "red"}, {"colours": []}]
)
def test_wrong_arguments_are_named(drawn, wrong):
    with pytest.raises((ValueError, TypeError), match=rf"`{next(iter(wrong))}` must be .*Received: "):
        drawn({"PPO": SEEDS}, **wrong)


def test_a_log_without_the_metric_is_named(drawn):
    with pytest.raises(ValueError, match=r"`env_steps` and `kl`\. Received: .*PPO_0\.csv"):
        drawn({"PPO": SEEDS}, metric="kl")
