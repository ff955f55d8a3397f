"""QRDQN: the quantile loss and its targets against loops over quantiles, and what it refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import keras_rl_prob as krp
from keras_rl_prob import ops
from keras_rl_prob.sources.replay import Transitions

SPACES = (spaces.Box(-5.0, 5.0, (3,)), spaces.Discrete(4))
ROWS, SPOILED, QUANTILES = 7, 4, 3
REPORT = {name: tf.constant(0.0) for name in ("return", "length", "episodes", "failure", "epsilon", "replay_size")}


def loss_by_loops(values, targets, delta):
    total = 0.0
    for i, value in enumerate(values):
        tau, terms = (i + 0.5) / len(values), []
        for target in targets:
            error = target - value
            size = abs(error)
            if delta is not None:
                size = (0.5 * error**2 if abs(error) <= delta else delta * (abs(error) - 0.5 * delta)) / delta
            terms.append((1.0 - tau if error < 0 else tau) * size)
        total += np.mean(terms)
    return total


@pytest.mark.parametrize("delta", [None, 1.0, 0.3])
def test_the_quantile_loss_is_its_definition(delta):
    rng = np.random.default_rng(0)
    values, targets = rng.normal(size=(2, 3, 5)), rng.normal(size=(2, 3, 4))
    expected = [[loss_by_loops(values[i, j], targets[i, j], delta) for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(ops.quantile_loss(values, targets, delta), expected, rtol=1e-12)


def test_its_minimum_is_at_the_quantiles():
    samples = tf.random.stateless_uniform((4000,), (1, 2))
    values, optimizer = keras.Variable(tf.zeros(4)), keras.optimizers.SGD(0.2)
    for _ in range(60):
        with tf.GradientTape() as tape:
            loss = ops.quantile_loss(values.value, samples, None)
        optimizer.apply([tape.gradient(loss, values.value)], [values])
    np.testing.assert_allclose(values, [1 / 8, 3 / 8, 5 / 8, 7 / 8], atol=0.03)


def made(**arguments):
    """An agent whose target network is another network."""
    keras.utils.set_random_seed(1)
    network = krp.networks.q_network(SPACES, (5,), dueling=arguments.get("dueling", False), quantiles=QUANTILES)
    agent = krp.QRDQN(network, **arguments)
    agent.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    agent.build(SPACES)
    for seed, model in enumerate((agent.network, agent.target_network)):
        rng = np.random.default_rng(seed)
        model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return agent


def batch():
    rng = np.random.default_rng(3)
    weight = rng.uniform(0.2, 1.8, ROWS)
    weight[SPOILED] = 0.0
    discount = rng.uniform(0.8, 1.0, ROWS)
    discount[2] = 0.0
    floats = [tf.constant(x, tf.float32) for x in (rng.normal(size=ROWS), discount, weight)]
    reward, discount, weight = floats
    observations = [tf.constant(rng.normal(size=(ROWS, 3)), tf.float32) for _ in range(2)]
    action = tf.constant(rng.integers(0, 4, ROWS), tf.int32)
    return Transitions(
        observations[0], action, reward, observations[1], discount, weight, tf.constant(0), tf.constant([1, 2]), REPORT
    )


@pytest.mark.parametrize(("double", "dueling", "delta"), [(False, False, 1.0), (True, True, None), (True, False, 0.5)])
def test_targets_are_quantiles_of_the_best_next_action(double, dueling, delta):
    agent, data = made(double=double, dueling=dueling, huber_delta=delta), batch()
    now, following, target = (
        np.asarray(model(x)["quantiles"], np.float64)
        for model, x in (
            (agent.network, data.observation),
            (agent.network, data.next_observation),
            (agent.target_network, data.next_observation),
        )
    )
    losses, values, errors = [], [], []
    for n in range(ROWS):
        judge = following if double else target
        best = max(range(4), key=lambda a: judge[n, :, a].mean())
        goals = float(data.reward[n]) + float(data.discount[n]) * target[n, :, best]
        own = now[n, :, int(data.action[n])]
        losses.append(float(data.weight[n]) * loss_by_loops(own, goals, delta))
        values.append(own.mean())
        errors.append(abs(goals.mean() - own.mean()))
    count, rest = ROWS - 1, [n for n in range(ROWS) if n != SPOILED]
    loss, logs = agent.loss_and_logs(data)
    assert float(loss) == pytest.approx(np.sum(losses) / count, rel=1e-5)
    assert float(logs["q_value"]) == pytest.approx(np.mean(np.asarray(values)[rest]), rel=1e-5)
    assert float(logs["td_error"]) == pytest.approx(np.mean(np.asarray(errors)[rest]), rel=1e-5)


def test_priorities_are_the_losses():
    agent, data = made(replay=krp.ReplaySettings(batch_size=ROWS, prioritized=True), updates=2), batch()
    agent.loss_and_logs(data._replace(weight=tf.ones(ROWS)))
    kept = agent.td_errors.numpy()
    loss, _ = agent.loss_and_logs(data._replace(weight=tf.ones(ROWS)))
    assert kept[0].mean() == pytest.approx(float(loss), rel=1e-5)
    assert not kept[1].any()


@pytest.mark.parametrize("dueling", [False, True])
def test_a_forbidden_action_is_neither_taken_nor_bootstrapped_from(dueling):
    observation_space = spaces.Dict({"x": spaces.Box(-1.0, 1.0, (2,)), "action_mask": spaces.MultiBinary(4)})
    network = krp.networks.q_network((observation_space, SPACES[1]), (5,), dueling=dueling, quantiles=QUANTILES)
    mask = np.array([[0, 1, 0, 1], [0, 0, 0, 0]], np.int8)
    outputs = network({"x": tf.random.stateless_normal((2, 2), (1, 2)), "action_mask": tf.constant(mask)})
    values, quantiles = outputs["action"].numpy(), outputs["quantiles"].numpy()
    assert quantiles.shape == (2, QUANTILES, 4)
    assert (values[0, [0, 2]] < -1e8).all()
    np.testing.assert_allclose(values[0, [1, 3]], quantiles[0].mean(0)[[1, 3]], rtol=1e-5)
    np.testing.assert_allclose(values[1], quantiles[1].mean(0), rtol=1e-5)


def test_networks_without_quantiles_are_refused():
    with pytest.raises(ValueError, match=r"must output a dict with the keys \['action', 'quantiles'\]"):
        krp.QRDQN(krp.networks.q_network(SPACES, (5,))).build(SPACES)
    good = krp.networks.q_network(SPACES, (5,), quantiles=2)
    bad = keras.Model(good.inputs, {**good.output, "quantiles": good.output["quantiles"][..., :2]})
    with pytest.raises(
        ValueError, match=r'"quantiles" must have the shape \[B, quantiles, 4\].*Received: shape=\(None, 2, 2'
    ):
        krp.QRDQN(bad).build(SPACES)
