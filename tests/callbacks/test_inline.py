"""A curve and an episode in a notebook: what is displayed, and what happens without one."""

import builtins
import io

import gymnasium
import IPython
import keras
import numpy as np
import pytest
from PIL import Image

import keras_rl_prob as krp
from keras_rl_prob.callbacks import inline
from keras_rl_prob.callbacks.plots.plot_learning_curve import EVALUATION, TRAINING

LOGS = {"env_steps": [10, 20, 30], "return": [1.0, 2.0, 4.0], "val_return": [2.0, 3.0, 5.0]}


class Drawn(gymnasium.Env):
    """Three steps, frames of 32 times 48 pixels."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)
    render_mode = "rgb_array"

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(2, np.float32), 0.5, self.steps == 3, False, {}

    def render(self):
        return np.full((32, 48, 3), 50 * self.steps, np.uint8)


@pytest.fixture
def shown(monkeypatch):
    """What a notebook was given to display."""
    objects = []
    monkeypatch.setattr(IPython, "get_ipython", lambda: "a shell")
    monkeypatch.setattr(IPython.display, "display", objects.append)
    return objects


def pixels(image, colour):
    with Image.open(io.BytesIO(image.data)) as picture:
        rgb = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
        return int((np.asarray(picture.convert("RGB")) == rgb).all(-1).sum())


def test_a_history_and_its_file_give_the_same_curve(shown, tmp_path):
    history = keras.callbacks.History()
    history.history, history.epoch = LOGS, [0, 1, 2]
    krp.callbacks.show_curve(history, title="a title")
    path = tmp_path / "log.csv"
    path.write_text("\n".join([",".join(LOGS), *(",".join(map(str, row)) for row in zip(*LOGS.values(), strict=True))]))
    krp.callbacks.show_curve(path, title="a title")
    krp.callbacks.show_curve(str(path))
    first, same, untitled = shown
    assert type(first) is IPython.display.Image
    assert pixels(first, TRAINING) > 500
    assert pixels(first, EVALUATION) > 500
    assert first.data == same.data != untitled.data


@pytest.mark.parametrize("every", [1, 2, 4])
def test_evaluations_now_and_then_are_at_their_epochs(every, shown, monkeypatch):
    drawn, agent = [], krp.Reinforce()
    monkeypatch.setattr(inline, "draw", lambda path, rows, title: drawn.append(rows) or path.write_bytes(b""))
    agent.compile(jit_compile=False)
    settings = {"steps_per_epoch": 1, "num_envs": 2, "verbose": 0, "validation_episodes": 1}
    history = agent.fit(
        "tf/CartPole-v1", epochs=7, initial_epoch=2, validation_data="tf/CartPole-v1", validation_freq=every, **settings
    )
    krp.callbacks.show_curve(history)
    (rows,) = drawn
    assert [row["epoch"] for row in rows] == [2, 3, 4, 5, 6]
    evaluated = [epoch for epoch in (2, 3, 4, 5, 6) if (epoch + 1) % every == 0]
    assert [row["epoch"] for row in rows if "val_return" in row] == evaluated
    assert [row["val_return"] for row in rows if "val_return" in row] == history.history["val_return"]
    assert [row["env_steps"] for row in rows] == history.history["env_steps"]


def test_of_keras_own_history_evaluations_now_and_then_are_left_out(shown, monkeypatch):
    drawn, history = [], keras.callbacks.History()
    monkeypatch.setattr(inline, "draw", lambda path, rows, title: drawn.append(rows) or path.write_bytes(b""))
    history.epoch, history.history = [0, 1], {"return": [3.0, 4.0], "val_return": [5.0]}
    krp.callbacks.show_curve(history)
    assert drawn == [[{"return": 3.0}, {"return": 4.0}]]


def test_an_episode_is_a_video_within_the_notebook(shown):
    agent = krp.PPO(krp.networks.feed_forward(Drawn, (2,)))
    agent.build(Drawn)
    assert krp.callbacks.show_episode(agent, Drawn) == {"return": 1.5, "length": 3}
    (video,) = shown
    assert type(video) is IPython.display.Video
    html = video._repr_html_()
    assert html.startswith("<video controls")
    assert "data:video/mp4;base64," in html
    assert b"ftyp" in video.data[:16]


def test_what_is_no_history(shown):
    with pytest.raises(TypeError, match=r"`history` must be what `fit` returned, or the path.*Received: history=\[1\]"):
        krp.callbacks.show_curve([1])


@pytest.mark.parametrize("has_ipython", [True, False])
def test_without_a_notebook_the_error_says_what_writes_a_file(has_ipython, monkeypatch):
    def imported(name, *args, real=builtins.__import__, **kwargs):
        if name == "IPython":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    if not has_ipython:
        monkeypatch.setattr(builtins, "__import__", imported)
    with pytest.raises(RuntimeError, match=r"`show_curve` shows something in a notebook.*`PlotLearningCurve`"):
        krp.callbacks.show_curve("log.csv")
    with pytest.raises(RuntimeError, match=r"`show_episode` shows something in a notebook.*`record_episode`"):
        krp.callbacks.show_episode(None, "CartPole-v1")
