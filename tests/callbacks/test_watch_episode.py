"""`WatchEpisode`: when it shows what, and that training does not notice."""

import gymnasium
import keras
import numpy as np
import pytest

import keras_rl_prob as krp


class Shown(gymnasium.Wrapper):
    """CartPole that notes what happens to it."""

    def __init__(self, notes, fails=False):
        super().__init__(gymnasium.make("CartPole-v1"))
        self.notes, self.fails = notes, fails

    @property
    def render_mode(self):
        return "human"

    def reset(self, **arguments):
        self.notes.append(arguments["seed"])
        return super().reset(**arguments)

    def step(self, action):
        if self.fails:
            raise ArithmeticError("the environment is broken")
        return super().step(action)

    def close(self):
        self.notes.append("closed")


@pytest.fixture(scope="module")
def agent():
    return small()


def small():
    keras.utils.set_random_seed(0)
    agent = krp.A2C(rollout_steps=4)
    agent.compile(run_eagerly=True)
    agent.build("tf/CartPole-v1")
    return agent


def train(agent, *callbacks, epochs=5):
    settings = {"num_envs": 2, "steps_per_epoch": 1, "seed": 1, "verbose": 0}
    return agent.fit("tf/CartPole-v1", epochs=epochs, callbacks=[*callbacks], **settings)


def test_one_window_shows_every_second_epoch(agent, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    notes, made = [], []
    watch = krp.callbacks.WatchEpisode(lambda: made.append(0) or Shown(notes), every=2, fps=1000, max_steps=3, seed=7)
    train(agent, watch)
    assert notes == [7, 7, "closed"]
    assert len(made) == 1
    assert watch.episode["length"] == 3


def test_training_does_not_notice():
    ends = []
    for callbacks in ([], [krp.callbacks.WatchEpisode("tf/CartPole-v1", render_mode="rgb_array", max_steps=3)]):
        agent = small()
        train(agent, *callbacks, epochs=2)
        ends.append(agent.get_weights())
    assert callbacks[0].episode["frames"].shape == (4, 400, 600, 3)
    assert all(np.array_equal(a, b) for a, b in zip(*ends, strict=True))


def test_errors_come_out_and_the_window_is_closed(agent, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    notes = []
    with pytest.raises(ArithmeticError, match="the environment is broken"):
        train(agent, krp.callbacks.WatchEpisode(lambda: Shown(notes, fails=True)))
    assert notes == [0, "closed"]


def test_without_a_display_nothing_is_trained(agent, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    before = int(agent.env_steps)
    with pytest.raises(RuntimeError, match="A window needs a display"):
        train(agent, krp.callbacks.WatchEpisode("CartPole-v1"))
    assert int(agent.env_steps) == before


@pytest.mark.parametrize("wrong", [{"every": 0}, {"fps": -1.0}, {"max_steps": 0}, {"seed": -1}, {"deterministic": 1}])
def test_wrong_values_are_named(wrong):
    with pytest.raises(ValueError, match=rf"`{next(iter(wrong))}` must be .*Received: "):
        krp.callbacks.WatchEpisode("CartPole-v1", **wrong)
