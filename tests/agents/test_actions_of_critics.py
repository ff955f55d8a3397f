"""What critics make of actions: integers, narrow bounds, no bounds, and rows of every mode of vector environments."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import keras_rl_prob as krp
from keras_rl_prob.sources.replay import Transitions
from keras_rl_prob.testing import HybridTask

SEEN = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)
LARGEST = float(np.finfo(np.float32).max)


def box(low, high, dtype=np.float32):
    return gymnasium.spaces.Box(low, high, (1,), dtype)


def values(critic, actions):
    observations = np.zeros((len(actions), 3), np.float32)
    return critic({"observation": observations, "action": np.array(actions, np.float32)[:, None]}).numpy()


@pytest.mark.parametrize("dtype", [np.int32, np.uint8])
def test_critics_of_integers_are_those_of_the_same_numbers(dtype):
    critics = [krp.networks.critic((SEEN, box(0, 10, kind)), (4,)) for kind in (np.float32, dtype)]
    critics[1].set_weights(critics[0].get_weights())
    np.testing.assert_array_equal(*(values(critic, [0, 3, 10]) for critic in critics))


@pytest.mark.parametrize("make", [krp.SAC, krp.TD3])
def test_policies_of_integers_get_a_gradient_from_the_critics(make):
    keras.utils.set_random_seed(0)
    agent = make(**({"temperature": 0.0} if make is krp.SAC else {"policy_period": 1}))
    agent.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    agent.build((SEEN, box(0, 10, np.int32)))
    names = ("failure", "return", "length", "episodes", "replay_size")
    before = agent.network.get_weights()
    agent.train_step(
        Transitions(
            observation=tf.ones((2, 3)),
            action=tf.ones((2, 1)),
            reward=tf.ones(2),
            next_observation=tf.ones((2, 3)),
            discount=tf.ones(2),
            weight=tf.ones(2),
            index=tf.constant(0),
            seed=tf.constant([1, 2]),
            report={name: tf.constant(0.0) for name in names},
        )
    )
    assert not all(np.array_equal(x, y) for x, y in zip(before, agent.network.get_weights(), strict=True))


def test_a_critic_with_integer_actions_is_refused():
    observation, action = keras.Input((3,)), keras.Input((1,), dtype="int32")
    x = keras.layers.Concatenate()([observation, keras.layers.Rescaling(0.1)(action)])
    critic = keras.Model({"observation": observation, "action": action}, keras.layers.Dense(2)(x))
    with pytest.raises(ValueError, match=r"input 'action' must be float32.*Received: \['int32'\]"):
        krp.SAC(critic=critic).build((SEEN, box(0, 10, np.int32)))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_actions_with_narrow_bounds_differ_in_half_precision(policy):
    kept = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(policy)
        critic = krp.networks.critic((SEEN, box(300, 310)), (4,))
    finally:
        keras.config.set_dtype_policy(kept)
    (scaling,) = (layer for layer in critic.layers if isinstance(layer, keras.layers.Rescaling))
    scaled = keras.Model(critic.input["action"], scaling.output)(np.arange(300.0, 311.0, dtype=np.float32)[:, None])
    np.testing.assert_allclose(np.asarray(scaled, np.float32)[:, 0], np.linspace(-1.0, 1.0, 11), atol=1e-5)


def test_bounds_beyond_float32_are_none():
    wide = box(-LARGEST, LARGEST)
    critic = krp.networks.critic((SEEN, wide), (4,))
    plain = krp.networks.critic((SEEN, box(-np.inf, np.inf)), (4,))
    plain.set_weights(critic.get_weights())
    np.testing.assert_array_equal(values(critic, [0.0, 5.0]), values(plain, [0.0, 5.0]))
    assert krp.LearnedTemperature().target(wide) == krp.LearnedTemperature().target(box(-np.inf, np.inf)) == -1.0
    with pytest.raises(ValueError, match="`env` must have actions with finite bounds"):
        krp.TD3().build((SEEN, wide))


def test_actions_are_scaled_by_their_own_bounds():
    parts = gymnasium.spaces.Dict(
        a=gymnasium.spaces.Box(np.array([[0.0, -np.inf]], np.float32), np.array([[8.0, np.inf]], np.float32)),
        b=gymnasium.spaces.Box(-3, 1, (), np.float32),
    )
    critic = krp.networks.critic((SEEN, parts), (4,))
    *_, joined = (layer for layer in critic.layers if isinstance(layer, keras.layers.Concatenate))
    seen = {"observation": np.zeros((2, 3), np.float32)}
    seen["action"] = {"a": np.array([[[0.0, 7.0]], [[8.0, -7.0]]], np.float32), "b": np.array([1.0, -2.0], np.float32)}
    numbers = keras.Model(critic.input, joined.output)(seen).numpy()[:, 3:]
    np.testing.assert_allclose(numbers, [[-1.0, 7.0, 1.0], [1.0, -7.0, -0.5]])


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
@pytest.mark.parametrize("make", [krp.RecurrentSAC, krp.RecurrentTD3])
def test_agents_with_memory_learn_where_environments_reset_within_a_step(make, mode):
    def short():
        return gymnasium.wrappers.TimeLimit(gymnasium.make("Pendulum-v1").unwrapped, 5)

    replay = krp.SequenceReplaySettings(
        burn_in=1, sequence_length=4, n_step=2, batch_size=4, learning_starts=20, period=4
    )
    agent = make(replay=replay, rollout_steps=4, updates=1)
    agent.compile(run_eagerly=True)
    agent.fit(SyncVectorEnv([short] * 2, autoreset_mode=mode), steps_per_epoch=2, verbose=0)
    assert int(agent.optimizer.iterations) == 2


def test_agents_with_memory_learn_mixed_actions_where_environments_reset_within_a_step():
    replay = krp.SequenceReplaySettings(
        burn_in=1, sequence_length=4, n_step=2, batch_size=4, learning_starts=20, period=4
    )
    agent = krp.RecurrentSAC(replay=replay, rollout_steps=4, updates=1)
    agent.compile(run_eagerly=True)
    env = SyncVectorEnv([HybridTask] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    agent.fit(env, steps_per_epoch=2, verbose=0)
    assert int(agent.optimizer.iterations) == 2
