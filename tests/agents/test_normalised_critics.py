"""`BatchNormalization` in critics: what SAC makes of it, and CrossQ, an example, against normalisation by hand in float64."""

import importlib.util
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import keras_rl_prob as krp
from keras_rl_prob.sources.replay import Transitions

PATH = pathlib.Path(__file__).parents[2] / "docs" / "examples" / "crossq.py"
SPEC = importlib.util.spec_from_file_location("crossq", PATH)
crossq = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(crossq)

SPACES = (spaces.Box(-5.0, 5.0, (3,)), spaces.Box(-2.0, 2.0, (1,)))
ROWS, EPSILON, MOMENTUM = 6, 1e-3, 0.99  # the last two are Keras' defaults


def critic():
    """Two linear critics of what is normalised."""
    observation, action = keras.Input((3,), name="observation"), keras.Input((1,), name="action")
    x = keras.layers.BatchNormalization()(keras.layers.Concatenate()([observation, action]))
    return keras.Model({"observation": observation, "action": action}, keras.layers.Dense(2)(x))


def made(kind, **arguments):
    """An agent with other moving statistics in critic and target critic."""
    keras.utils.set_random_seed(2)
    settings = krp.ReplaySettings(capacity=200, batch_size=ROWS, learning_starts=16)
    agent = kind(
        krp.networks.stochastic_actor(SPACES, (4,)), critic(), temperature=0.3, updates=2, replay=settings, **arguments
    )
    agent.compile(jit_compile=False)
    agent.build(SPACES)
    for seed, model in enumerate((agent.critic, agent.target_critic)):
        rng = np.random.default_rng(seed)
        model.set_weights([rng.uniform(0.2, 1.0, w.shape) for w in model.get_weights()])
    return agent


def batch():
    rng = np.random.default_rng(5)
    report = {name: tf.constant(0.0) for name in ("return", "length", "episodes", "failure", "replay_size")}
    reward, discount, weight = (tf.constant(rng.uniform(0.1, 1.0, ROWS), tf.float32) for _ in range(3))
    observations = [tf.constant(rng.normal(size=(ROWS, 3)), tf.float32) for _ in range(2)]
    action = tf.constant(rng.uniform(-1.0, 1.0, (ROWS, 1)), tf.float32)  # before it is squashed
    seed = tf.constant([3, 4])
    return Transitions(observations[0], action, reward, observations[1], discount, weight, tf.constant(0), seed, report)


def features(observation, action):
    return np.concatenate([np.asarray(observation, np.float64), np.asarray(action, np.float64)], -1)


def linear(model, x, mean, variance):
    """What a critic makes of inputs that it normalises by a mean and a variance."""
    gamma, beta, _, _, kernel, bias = (np.asarray(w, np.float64) for w in model.get_weights())
    return ((x - mean) / np.sqrt(variance + EPSILON) * gamma + beta) @ kernel + bias


def by_batch(model, x):
    return linear(model, x, x.mean(0), x.var(0))


def by_moving(model, x):
    return linear(model, x, *(np.asarray(w, np.float64) for w in model.get_weights()[2:4]))


def expected_loss(agent, data, values, next_values, log_density):
    soft = next_values.min(-1) - 0.3 * np.asarray(log_density, np.float64)
    target = np.asarray(data.reward, np.float64) + np.asarray(data.discount, np.float64) * soft
    return np.mean(np.asarray(data.weight, np.float64) * (0.5 * (target[:, None] - values) ** 2).sum(-1))


def test_critics_of_sac_normalise_by_the_batch_and_targets_by_the_moving_statistics():
    agent, data = made(krp.SAC), batch()
    following = agent.sample(data, tf.random.split(data.seed, 2)[0], following=True)
    x = features(data.observation, agent.environment_action(data.action))
    later = features(data.next_observation, following.action)
    values, next_values = by_batch(agent.critic, x), by_moving(agent.target_critic, later)
    before, of_target = agent.critic.get_weights(), agent.target_critic.get_weights()
    loss, _ = agent.critic_loss(data)
    assert float(loss) == pytest.approx(
        expected_loss(agent, data, values, next_values, following.log_density), rel=1e-4
    )
    after = agent.critic.get_weights()
    for statistic, moment in ((2, x.mean(0)), (3, x.var(0))):
        moved = MOMENTUM * before[statistic] + (1.0 - MOMENTUM) * moment
        np.testing.assert_allclose(after[statistic], moved, rtol=1e-5)
    for now, then in zip(agent.target_critic.get_weights(), of_target, strict=True):
        np.testing.assert_array_equal(now, then)


def test_crossq_normalises_current_and_next_actions_together():
    agent, data = made(crossq.CrossQ, target_update=10**9), batch()
    following = agent.sample(data, tf.random.split(data.seed, 2)[0], following=True)
    x = features(data.observation, agent.environment_action(data.action))
    joint = np.concatenate([x, features(data.next_observation, following.action)])
    values, next_values = np.split(by_batch(agent.critic, joint), 2)
    before = agent.critic.get_weights()
    loss, _ = agent.critic_loss(data)
    assert float(loss) == pytest.approx(
        expected_loss(agent, data, values, next_values, following.log_density), rel=1e-4
    )
    after = agent.critic.get_weights()
    np.testing.assert_allclose(after[2], MOMENTUM * before[2] + (1.0 - MOMENTUM) * joint.mean(0), rtol=1e-5)
    sample = agent.sample(data, tf.random.split(data.seed, 2)[1])
    policy_values = by_moving(agent.critic, features(data.observation, sample.action)).min(-1)
    policy_loss, _ = agent.actor_loss(data)
    soft = policy_values - 0.3 * np.asarray(sample.log_density, np.float64)
    assert float(policy_loss) == pytest.approx(-np.mean(soft), rel=1e-4)
    assert all(np.array_equal(x, y) for x, y in zip(agent.critic.get_weights(), after, strict=True))


def test_a_training_of_crossq_is_saved_and_resumed_exactly(tmp_path):
    def training():
        keras.utils.set_random_seed(0)
        env = "tf/Pendulum-v1"
        agent = crossq.CrossQ(
            krp.networks.stochastic_actor(env, (4,)),
            crossq.normalised_critic(env, 4),
            target_update=10**9,
            updates=2,
            replay=krp.ReplaySettings(capacity=200, batch_size=8, learning_starts=16),
        )
        agent.compile(run_eagerly=True)
        return agent

    fit = {"steps_per_epoch": 2, "num_envs": 2, "seed": 0, "verbose": 0}
    whole, part = training(), training()
    whole.fit("tf/Pendulum-v1", epochs=2, **fit)
    part.fit("tf/Pendulum-v1", epochs=1, **fit)
    part.save(tmp_path / "agent.keras")
    again = keras.saving.load_model(tmp_path / "agent.keras")
    again.fit("tf/Pendulum-v1", epochs=2, initial_epoch=1, **fit)
    assert all(np.array_equal(x, y) for x, y in zip(whole.get_weights(), again.get_weights(), strict=True))
    moving = [w for w in whole.critic.non_trainable_weights if "moving" in w.path]
    assert moving
    assert not any(np.all(np.isin(w.numpy(), (0.0, 1.0))) for w in moving), "the moving statistics did not move"
    assert int(whole.optimizers["critic"].iterations) == 4
    assert int(whole.optimizers["actor"].iterations) == 1  # in every third
