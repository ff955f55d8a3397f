"""Hints: given once in a `fit`, of what they name, with their cure."""

import warnings

import gymnasium
import keras
import numpy as np
import pytest

import keras_rl_prob as krp
from keras_rl_prob.learning.progress import hints


class Plain(gymnasium.Env):
    """Observations `scale * [1, -1]`, rewards `reward`, episodes of `length` steps."""

    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Dict(
        a=gymnasium.spaces.Box(-np.inf, np.inf, (2,)), b=gymnasium.spaces.Box(-np.inf, np.inf, (1,))
    )

    def __init__(self, scale=1.0, reward=1.0, length=5):
        self.scale, self.reward, self.length, self.steps = scale, reward, length, 0

    def _observation(self):
        return {"a": np.array([self.scale, -self.scale], np.float32), "b": np.ones(1, np.float32)}

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return self._observation(), {}

    def step(self, action):
        self.steps += 1
        return self._observation(), self.reward, self.steps == self.length, False, {}


def ppo(**settings):
    network = krp.networks.feed_forward(Plain, (2,))
    return krp.PPO(network, rollout_steps=4, minibatches=1, update_epochs=1, **settings)


@pytest.fixture(scope="module")
def same():
    return ppo()


@pytest.fixture
def given(monkeypatch, same):
    """Trains in a `Plain` environment; returns the texts of the hints."""
    monkeypatch.setattr(hints, "FIRST_STEPS", 8)
    monkeypatch.setattr(hints, "LONG", 8)

    def train(agent=same, epochs=2, wrap=lambda env: env, verbose=0, **settings):
        if not agent.compiled:  # else its graphs would be made anew
            agent.compile(run_eagerly=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            agent.fit(
                lambda: wrap(Plain(**settings)), epochs=epochs, steps_per_epoch=1, num_envs=2, seed=1, verbose=verbose
            )
        found = [one for one in caught if issubclass(one.category, krp.TrainingHint)]
        assert all(one.filename == __file__ for one in found)  # the line of `fit`
        return [str(one.message) for one in found]

    return train


def test_nothing_wrong_no_hint(given):
    assert given(scale=99.0) == given(scale=0.02, length=3, epochs=4) == []


@pytest.mark.parametrize(("scale", "shown"), [(1234.0, "1.23e+03"), (0.005, "0.005")])
def test_observations_far_from_one(scale, shown, given):
    (text,) = given(scale=scale)
    assert text.endswith(f"'a' {shown}")  # and not 'b'
    assert "`normalize_observations=True`" in text


def test_observations_that_are_normalised_or_nothing(given):
    assert given(scale=0.0) == []
    assert given(ppo(normalize_observations=True), scale=1234.0) == []


def test_networks_that_normalise(given):
    a, b = keras.Input((2,), name="a"), keras.Input((1,), name="b")
    x = keras.layers.LayerNormalization()(keras.layers.Concatenate()([a, b]))
    outputs = {"action": krp.layers.DenseCategorical((2,))(x), "value": keras.layers.Dense(1)(x)}
    network = keras.Model({"a": a, "b": b}, outputs)
    assert given(krp.PPO(network, rollout_steps=4, minibatches=1, update_epochs=1), scale=1234.0, epochs=1) == []


def test_rewards_that_are_all_zero(given):
    (text,) = given(reward=0.0)
    assert text.startswith("All rewards of the first 8 steps were 0")
    assert "check_env" in text
    assert given(reward=-1e-6) == []


def test_episodes_that_never_end(given):
    (text,) = given(length=1000)
    assert text.startswith("No episode has ended in the first 8 steps of each environment")
    assert "TimeLimit" in text
    assert given(length=1000, epochs=1) == []
    assert given(length=1000, wrap=lambda env: gymnasium.wrappers.TimeLimit(env, 5)) == []


def test_a_known_time_limit_is_enough(given):
    def limited(env):
        env.spec = gymnasium.envs.registration.EnvSpec("Plain-v0", max_episode_steps=9)
        return env

    assert given(length=1000, wrap=limited) == []
    assert hints.has_time_limit(krp.envs.make("tf/CartPole-v1", 1))
    assert not hints.has_time_limit(krp.envs.make_native("tf/Recall-v0", 1))


def test_a_random_agent_is_not_to_learn(given):
    assert given(krp.RandomAgent(rollout_steps=4), scale=1234.0, reward=0.0) == []


def test_every_fit_gives_its_hints_once(given):
    for _ in range(2):
        texts = given(scale=1234.0, reward=0.0, length=1000, epochs=4)
        assert [text[:6] for text in texts] == ["Number", "All re", "No epi"]
    assert given() == []  # nothing is left of the fit before


def test_a_hint_begins_a_line_of_its_own(given, monkeypatch, capsys):
    monkeypatch.setattr("keras_rl_prob.learning.progress.callback.Progress._can_draw", lambda self: True)
    monkeypatch.setattr(warnings, "showwarning", lambda *args, **kwargs: None)
    given(scale=1234.0, epochs=1, verbose=1)
    assert [text.split()[0] for text in capsys.readouterr().out.split("\n")[:-1]] == ["2", "Epoch", "Epoch"]


def test_outputs_that_nothing_uses():
    inputs = keras.Input((4,))
    outputs = {name: keras.layers.Dense(1)(inputs) for name in ("value", "spare")}
    agent = krp.PPO(keras.Model(inputs, {"action": krp.layers.DenseCategorical((2,))(inputs), **outputs}))
    with pytest.warns(krp.TrainingHint, match=r"PPO does not use do nothing.*\['spare'\]"):
        agent.build("tf/CartPole-v1")
