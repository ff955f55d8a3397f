"""C51: the projection and its targets against the algorithm of the paper in float64, and what it refuses."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from test_qr_dqn import ROWS, SPACES, SPOILED, batch

import keras_rl_prob as krp
from keras_rl_prob import ops
from keras_rl_prob.ops.value_rescaling import inverse_rescale, rescale

ATOMS, BOUNDS = 6, (-1.5, 1.0)
SUPPORT = np.linspace(*BOUNDS, ATOMS)


def projected(probabilities, values, support):
    """Algorithm 1 of Bellemare et al., 2017: each probability goes to the atoms below and above its value."""
    low, step, sums = support[0], support[1] - support[0], np.zeros(len(support))
    for p, value in zip(probabilities, values, strict=True):
        place = (min(max(value, low), support[-1]) - low) / step
        below, above = math.floor(place), math.ceil(place)
        if below == above:
            sums[below] += p
        else:
            sums[below] += p * (above - place)
            sums[above] += p * (place - below)
    return sums


def test_the_projection_is_the_algorithm_of_the_paper():
    rng = np.random.default_rng(0)
    support = np.linspace(-2.0, 2.0, 9)  # atoms that floats represent exactly
    values = rng.normal(0.0, 2.0, (2, 3, 5))  # some beyond the bounds
    values[0, 0, :2], values[1, 2, 0] = [0.5, 2.0], -7.0  # and some on atoms
    assert (np.abs(values) > 2.0).any()
    probabilities = rng.dirichlet(np.ones(5), (2, 3))
    expected = [[projected(probabilities[i, j], values[i, j], support) for j in range(3)] for i in range(2)]
    result = ops.categorical_projection(probabilities, values, support)
    np.testing.assert_allclose(result, expected, atol=1e-12)
    np.testing.assert_allclose(np.sum(result, -1), 1.0, atol=1e-12)


def made(**arguments):
    """An agent whose target network is another network."""
    network = krp.networks.q_network(
        SPACES, (5,), dueling=arguments.get("dueling", False), atoms=ATOMS, value_bounds=BOUNDS
    )
    agent = krp.C51(network, **arguments)
    agent.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    agent.build(SPACES)
    for seed, model in enumerate((agent.network, agent.target_network)):
        rng = np.random.default_rng(seed)
        model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return agent


def probabilities_of(model, x):
    logits = np.asarray(model(x)["logits"], np.float64)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)  # [rows, atoms, actions]


@pytest.mark.parametrize("double", [False, True])
def test_targets_are_projections_of_the_best_next_action(double):
    agent, data = made(double=double, dueling=double, rescale_values=double), batch()
    now = probabilities_of(agent.network, data.observation)
    following = probabilities_of(agent.network, data.next_observation)
    target = probabilities_of(agent.target_network, data.next_observation)
    means = np.einsum("nka,k->na", now, SUPPORT)
    np.testing.assert_allclose(agent.network(data.observation)["action"], means, atol=1e-5)
    losses, values, errors = [], [], []
    for n in range(ROWS):
        best = int(np.argmax(SUPPORT @ (following if double else target)[n]))
        before = inverse_rescale(tf.constant(SUPPORT)).numpy() if double else SUPPORT
        shifted = float(data.reward[n]) + float(data.discount[n]) * before
        shifted = rescale(tf.constant(shifted)).numpy() if double else shifted
        goal = projected(target[n, :, best], shifted, SUPPORT)
        own = now[n, :, int(data.action[n])]
        divergence = sum(m * math.log(m / p) for m, p in zip(goal, own, strict=True) if m > 0.0)
        losses.append(float(data.weight[n]) * divergence)
        values.append(own @ SUPPORT)
        errors.append(abs(goal @ SUPPORT - own @ SUPPORT))
    count, rest = ROWS - 1, [n for n in range(ROWS) if n != SPOILED]
    loss, logs = agent.loss_and_logs(data)
    assert float(loss) == pytest.approx(np.sum(losses) / count, rel=1e-4)
    assert float(logs["q_value"]) == pytest.approx(np.mean(np.asarray(values)[rest]), rel=1e-4)
    assert float(logs["td_error"]) == pytest.approx(np.mean(np.asarray(errors)[rest]), rel=1e-4)


def test_the_gradient_does_not_change_the_target_and_priorities_are_the_losses():
    agent, data = made(replay=krp.ReplaySettings(batch_size=ROWS, prioritized=True), updates=2), batch()
    data = data._replace(weight=tf.ones(ROWS), next_observation=data.observation)
    agent.target_network = agent.network
    with tf.GradientTape() as tape:
        loss, _ = agent.loss_and_logs(data)
    logits = agent.network.trainable_variables[-1]  # the bias of the output: its gradient is p - m, summed over rows
    gradient = tape.gradient(loss, logits.value).numpy().reshape(ATOMS, 4)
    p, expected = probabilities_of(agent.network, data.observation), np.zeros((ATOMS, 4))
    for n in range(ROWS):
        a, best = int(data.action[n]), int(np.argmax(SUPPORT @ p[n]))
        goal = projected(p[n, :, best], float(data.reward[n]) + float(data.discount[n]) * SUPPORT, SUPPORT)
        expected[:, a] += (p[n, :, a] - goal) / ROWS
    np.testing.assert_allclose(gradient, expected, atol=1e-5)
    kept = agent.td_errors.numpy()
    assert kept[0].mean() == pytest.approx(float(loss), rel=1e-5)
    assert not kept[1].any()


def test_a_forbidden_action_has_no_value():
    observation_space = spaces.Dict({"x": spaces.Box(-1.0, 1.0, (2,)), "action_mask": spaces.MultiBinary(4)})
    network = krp.networks.q_network((observation_space, SPACES[1]), (5,), dueling=True, atoms=3, value_bounds=BOUNDS)
    mask = np.array([[0, 1, 0, 1], [0, 0, 0, 0]], np.int8)
    values = network({"x": tf.zeros((2, 2)), "action_mask": tf.constant(mask)})["action"].numpy()
    assert (values[0, [0, 2]] < -1e8).all()
    assert (np.abs(values[[0, 0, 1], [1, 3, 0]]) <= 1.5).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"must output a dict with the keys \['action', 'logits'\]"):
        krp.C51(krp.networks.q_network(SPACES, (5,))).build(SPACES)
    good = krp.networks.q_network(SPACES, (5,), atoms=3)
    short = keras.Model(good.inputs, {**good.output, "logits": good.output["logits"][..., :2]})
    with pytest.raises(ValueError, match=r'"logits" must have the shape \[B, atoms, 4\].*Received: shape=\(None, 3, 2'):
        krp.C51(short).build(SPACES)
    values = krp.layers.QValues((4,))(keras.ops.mean(good.output["logits"], axis=1))
    with pytest.raises(ValueError, match=r'"action" must be means over atoms for C51.*Received: QValues'):
        krp.C51(keras.Model(good.inputs, {"action": values, "logits": good.output["logits"]})).build(SPACES)
    with pytest.raises(ValueError, match=r"`value_bounds` must be two numbers.*Received: value_bounds=\(1, 1\)"):
        krp.C51(value_bounds=(1, 1))
    with pytest.raises(ValueError, match="`quantiles` or `atoms` must be `None`"):
        krp.networks.q_network(SPACES, quantiles=3, atoms=3)
