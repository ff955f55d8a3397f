"""Layers that adapt observations travel with the agent: the same in fit, evaluate, play, export, and in files."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import keras_rl_prob as krp
from keras_rl_prob.testing import ScriptedEnv


@keras.saving.register_keras_serializable("test_observation_adapters")
class Difference(keras.layers.Layer):
    """The last of several frames, and its difference from the one before."""

    def call(self, frames):
        return keras.ops.concatenate([frames[-1], frames[-1] - frames[-2]], -1)

    def compute_output_shape(self, shapes):
        return *shapes[-1][:-1], 2 * shapes[-1][-1]


@keras.saving.register_keras_serializable("test_observation_adapters")
def doubled(frames):
    return keras.ops.concatenate([2.0 * frames[-1], frames[0]], -1)


class Frames(gymnasium.Wrapper):
    """A Tuple of the last two observations."""

    def __init__(self, env):
        super().__init__(env)
        self.observation_space = spaces.Tuple([env.observation_space] * 2)

    def reset(self, **options):
        self.last, info = self.env.reset(**options)
        return (self.last, self.last), info

    def step(self, action):
        before, (self.last, *rest) = self.last, self.env.step(action)
        return (before, self.last), *rest


def make():
    return Frames(ScriptedEnv(1, [(4, "terminated")]))


def network(adapter, width=6):
    inputs = (keras.Input((3,)), keras.Input((3,)))
    x = adapter(inputs)
    assert x.shape == (None, width)
    hidden = keras.layers.Dense(8, "tanh")(x)
    action = krp.networks.heads(spaces.Discrete(2), hidden)
    return keras.Model(inputs, {"action": action, "value": keras.layers.Dense(1)(hidden)})


@pytest.mark.parametrize("adapter", [Difference, lambda: keras.layers.Lambda(doubled, output_shape=(6,))])
def test_the_adapter_is_part_of_everything(tmp_path, adapter):
    """The weights behind it are such that the action tells what the adapter gives: the sign of one number."""
    agent = krp.PPO(network(adapter()), rollout_steps=8, minibatches=1)
    agent.compile(jit_compile=False)
    agent.fit(make, num_envs=2, steps_per_epoch=4, verbose=0)
    frames = tuple(np.random.default_rng(0).normal(size=(2, 40, 3)).astype("float32"))
    first = adapter()
    adapted = np.asarray(first(tuple(map(tf.constant, frames))))
    layers = [layer for layer in agent.network.layers if layer.weights]
    kernels = [np.zeros(w.shape) for w in layers[0].weights], [np.zeros(w.shape) for w in layers[1].weights]
    kernels[0][0][4, 0], kernels[1][0][0, 1] = 1.0, 1.0
    head = agent.network.layers[[type(x).__name__ for x in agent.network.layers].index("DenseCategorical")]
    layers[0].set_weights(kernels[0])
    head.set_weights([kernels[1][0], np.zeros(2)] if len(head.weights) == 2 else [kernels[1][0]])
    wanted = (adapted[:, 4] > 0).astype(int)
    assert 10 < wanted.sum() < 30
    np.testing.assert_array_equal(agent.predict(frames, verbose=0), wanted)
    policy = agent.policy()
    np.testing.assert_array_equal([policy(tuple(x)) for x in zip(*frames, strict=True)], wanted)
    agent.save(tmp_path / "agent.keras")
    loaded = keras.saving.load_model(tmp_path / "agent.keras")  # `safe_mode` is on
    np.testing.assert_array_equal(loaded.predict(frames, verbose=0), wanted)
    assert loaded.evaluate(make, episodes=2, return_dict=True, verbose=0)["length"] == 4
    agent.export(tmp_path / "policy")
    exported = tf.saved_model.load(str(tmp_path / "policy"))
    action, _ = exported.serve(frames, np.zeros(40, bool), exported.initial_state(40))
    np.testing.assert_array_equal(action, wanted)


@keras.saving.register_keras_serializable("test_observation_adapters")
class Wrong(keras.layers.Layer):
    """Gives another shape than it declares: fewer rows, more rows, or more columns."""

    def __init__(self, kind, **options):
        super().__init__(**options)
        self.kind = kind

    def call(self, x):
        if self.kind == "fewer":
            return x[:1]
        if self.kind == "more":
            return keras.ops.concatenate([x, x], 0)
        return keras.ops.concatenate([x, x], 1)

    def compute_output_shape(self, shape):
        return shape


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (
            "fewer",
            r"^`network`'s layers must keep the batch axis: .* Expected: 2 rows\. Received: an output of the shape \(1, ",
        ),
        (
            "more",
            r"^`network`'s layers must keep the batch axis: .* Expected: 2 rows\. Received: an output of the shape \(4, ",
        ),
        (
            "wide",
            r"^`network`'s layers must have the output shapes with which the network was made\. .*value 3.*\(2, 6\)$",
        ),
    ],
)
def test_an_adapter_that_changes_its_shape(kind, text):
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(8)(Wrong(kind)(inputs))
    action = krp.networks.heads(spaces.Discrete(2), hidden)
    agent = krp.PPO(keras.Model(inputs, {"action": action, "value": keras.layers.Dense(1)(hidden)}), rollout_steps=8)
    agent.compile(jit_compile=False)
    with pytest.raises(ValueError, match=text) as info:
        agent.fit(lambda: ScriptedEnv(1, [(4, "terminated")]), num_envs=2, verbose=0)
    assert "\n" not in str(info.value)


def test_an_adapter_of_other_observations():
    agent = krp.PPO(network(Difference()))
    with pytest.raises(
        ValueError, match=r"inputs must have the shapes of the observation space.*Received: \[\(3,\), \(3,\)\]"
    ):
        agent.build("CartPole-v1")
