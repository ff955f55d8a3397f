"""PPO's loss and its metrics against hand-computed numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.sources.on_policy import Minibatch

SPACES = (krp.envs.make("tf/CartPole-v1", 1).observation_space, krp.envs.make("tf/CartPole-v1", 1).action_space)


def agent_with(**arguments):
    """An agent whose network is linear, so that its outputs for a minibatch can be computed by hand."""
    inputs = keras.Input((4,))
    network = keras.Model(
        inputs, {"action": krp.layers.DenseCategorical((2,))(inputs), "value": keras.layers.Dense(1)(inputs)}
    )
    agent = krp.PPO(network, minibatches=2, update_epochs=2, **arguments)
    agent.compile(keras.optimizers.SGD(0.1))
    agent.build(SPACES)
    agent.optimizer.build(network.trainable_variables)
    return agent


def minibatch(agent, index=0, rows=6, log_prob_shift=0.3, **changes):
    """Random data, whose last row is not an environment step and would change every mean."""
    random = np.random.default_rng(1)
    observation = random.normal(size=(1, rows, 4)).astype(np.float32)
    logits = random.normal(size=(1, rows, 2)).astype(np.float32)
    raw = random.integers(0, 2, (1, rows)).astype(np.int32)
    valid = np.ones((1, rows), np.float32)
    valid[0, -1] = 0.0
    advantage = random.normal(size=(1, rows)).astype(np.float32)
    advantage[0, -1] = 1e6
    log_prob = np.take_along_axis(log_softmax(logits), raw[..., None], -1)[..., 0] + log_prob_shift
    fields = dict(
        observation=observation,
        is_first=np.zeros((1, rows), bool),
        raw=raw,
        parameters=logits,
        log_prob=log_prob.astype(np.float32),
        value=random.normal(size=(1, rows)).astype(np.float32),
        advantage=advantage,
        target=random.normal(size=(1, rows)).astype(np.float32),
        valid=valid,
        index=np.int32(index),
    )
    report = {name: tf.constant(0.0) for name in ("return", "length", "episodes", "explained_variance", "failure")}
    return Minibatch(**tf.nest.map_structure(tf.constant, fields | changes), state=(), report=report)


def log_softmax(x):
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def expected_parts(agent, batch, clip_ratio, value_clip, normalize):
    """The definitions in NumPy, row by row; also which branches the rows reach."""
    outputs = agent.network(batch.observation[0])
    new, old = (
        log_softmax(outputs["action"].numpy().astype(float)),
        log_softmax(batch.parameters[0].numpy().astype(float)),
    )
    value = outputs["value"].numpy()[:, 0].astype(float)
    rows = np.flatnonzero(batch.valid[0].numpy())
    advantage = batch.advantage[0].numpy().astype(float)
    if normalize:
        advantage = (advantage - advantage[rows].mean()) / advantage[rows].std()
    surrogate, error, entropy, kl, clipped = [], [], [], [], []
    for row in rows:
        action, old_value, target = int(batch.raw[0, row]), float(batch.value[0, row]), float(batch.target[0, row])
        ratio = np.exp(new[row, action] - float(batch.log_prob[0, row]))
        limited = ratio if clip_ratio is None else min(max(ratio, 1 - clip_ratio), 1 + clip_ratio)
        surrogate.append(min(ratio * advantage[row], limited * advantage[row]))
        moved = (
            value[row] if value_clip is None else old_value + np.clip(value[row] - old_value, -value_clip, value_clip)
        )
        error.append(max((value[row] - target) ** 2, (moved - target) ** 2))
        entropy.append(-np.sum(np.exp(new[row]) * new[row]))
        kl.append(np.sum(np.exp(old[row]) * (old[row] - new[row])))
        clipped.append(clip_ratio is not None and abs(ratio - 1) > clip_ratio)
    return {
        "policy_loss": -np.mean(surrogate),
        "value_loss": np.mean(error),
        "entropy": np.mean(entropy),
        "kl": np.mean(kl),
        "clip_fraction": np.mean(clipped),
    }


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(("clip_ratio", "value_clip"), [(0.2, None), (None, None), (0.05, 0.2), (0.5, 0.01)])
def test_loss_equals_the_definitions(clip_ratio, value_clip, normalize):
    agent = agent_with(
        clip_ratio=clip_ratio, value_clip=value_clip, normalize_advantages=normalize, value_coef=0.7, entropy_coef=0.03
    )
    batch = minibatch(agent)
    loss, parts = agent.loss_and_logs(batch)
    expected = expected_parts(agent, batch, clip_ratio, value_clip, normalize)
    for name, value in expected.items():
        assert float(parts[name]) == pytest.approx(value, rel=1e-4, abs=1e-6), name
    total = expected["policy_loss"] + 0.7 * expected["value_loss"] - 0.03 * expected["entropy"]
    assert float(loss) == pytest.approx(total, rel=1e-4)
    if clip_ratio == 0.2:
        assert 0 < expected["clip_fraction"] < 1, "the data reach only one side of the clip"


def test_kl_penalty_and_network_losses_are_added():
    penalty = krp.KLPenalty(target=0.01, initial_beta=2.0, cutoff_factor=2.0, cutoff_coef=50.0)
    plain, penalised = agent_with(clip_ratio=None), agent_with(clip_ratio=None, kl_penalty=penalty)
    penalised.set_weights([*plain.get_weights()[: len(penalised.get_weights())]])
    penalised.network.set_weights(plain.network.get_weights())
    penalised.kl_beta.assign(2.0)
    batch = minibatch(plain)
    loss, parts = plain.loss_and_logs(batch)
    kl = float(parts["kl"])
    assert kl > 0.02, "the cutoff is not reached"
    assert float(penalised.loss_and_logs(batch)[0]) == pytest.approx(
        float(loss) + 2.0 * kl + 50.0 * (kl - 0.02) ** 2, rel=1e-5
    )

    plain.network.layers[-1].kernel_regularizer = keras.regularizers.L2(0.1)
    kernel = plain.network.layers[-1].kernel
    kernel.regularizer = keras.regularizers.L2(0.1)
    squares = float(tf.reduce_sum(tf.square(kernel.value)))
    regularized = plain.regularized(plain.parts()[0], plain.loss_and_logs(batch)[0])
    assert float(regularized) == pytest.approx(float(loss) + 0.1 * squares, rel=1e-5)


def test_coefficients_follow_keras_schedules():
    schedule = keras.optimizers.schedules.PolynomialDecay(0.2, 10, 0.0)
    agent = agent_with(clip_ratio=schedule, entropy_coef=schedule, value_clip=schedule)
    batch = minibatch(agent)
    for iteration, coefficient in ((0, 0.2), (5, 0.1)):
        agent.optimizer.iterations.assign(iteration)
        constant = agent_with(clip_ratio=coefficient, entropy_coef=coefficient, value_clip=coefficient)
        constant.network.set_weights(agent.network.get_weights())
        assert float(agent.loss_and_logs(batch)[0]) == pytest.approx(float(constant.loss_and_logs(batch)[0]), rel=1e-5)


def test_beta_adapts_to_the_mean_kl_of_the_last_epoch():
    penalty = krp.KLPenalty(target=0.01, initial_beta=1.0, tolerance=0.3)

    def beta_after(kls):
        agent = agent_with(kl_penalty=penalty)
        for index, kl in enumerate(kls):
            agent._follow_kl(tf.constant(index), tf.constant(kl))
        return float(agent.kl_beta)

    assert beta_after([9.0, 9.0, 0.004, 0.006]) == pytest.approx(1 / 1.5)
    assert beta_after([0.0, 0.0, 0.015, 0.025]) == pytest.approx(1.5)
    assert beta_after([9.0, 9.0, 0.009, 0.011]) == pytest.approx(1.0)
    assert beta_after([9.0, 9.0, 0.9]) == pytest.approx(1.0)  # not before the last update


def test_target_kl_skips_the_rest_of_the_rollout_only():
    agent = agent_with(target_kl=0.01)

    def weights_change(index, **changes):
        before = agent.network.get_weights()
        agent.train_step(minibatch(agent, index, **changes))
        return any(not np.array_equal(a, b) for a, b in zip(before, agent.network.get_weights(), strict=True))

    near = dict(parameters=agent.network(minibatch(agent).observation[0])["action"].numpy()[None])
    assert weights_change(0, **near)
    assert not weights_change(1), "this minibatch is beyond 1.5 times the target"
    assert not weights_change(2, **near), "the rest of the rollout is skipped"
    near = dict(parameters=agent.network(minibatch(agent).observation[0])["action"].numpy()[None])
    assert weights_change(0, **near), "the next rollout starts afresh"


@pytest.mark.parametrize("culprit", ["advantage", "observation", "target"])
def test_a_loss_that_is_not_finite_leaves_weights_and_optimizer_alone(culprit):
    agent = agent_with()
    agent.train_step(minibatch(agent))
    before = [*agent.network.get_weights(), *(v.numpy() for v in agent.optimizer.variables)]
    spoiled = getattr(minibatch(agent), culprit).numpy()
    spoiled[0, 0] = np.nan
    agent.train_step(minibatch(agent, **{culprit: spoiled}))
    after = [*agent.network.get_weights(), *(v.numpy() for v in agent.optimizer.variables)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert int(agent.failure.numpy()) == 3
