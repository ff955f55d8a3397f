"""`DenseGSDE`: location, scale and noise against their definition in NumPy; how long noise is kept; agents that act with it."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.layers import DenseGSDE
from keras_rl_prob.layers.dense_gsde import exploration

ROWS, FEATURES = 6, 4
X = np.random.default_rng(1).normal(size=(ROWS, FEATURES))


def trained(**arguments):
    """A head with arbitrary weights, and its kernel, bias and sigma."""
    head = DenseGSDE((2,), noise_steps=4, **arguments)
    head(tf.zeros((1, FEATURES)))
    rng = np.random.default_rng(0)
    head.set_weights([rng.normal(0.0, 0.5, weight.shape) for weight in head.weights])
    kernel, bias, log_sigma = (np.asarray(weight, np.float64) for weight in head.get_weights())
    return head, kernel, bias, np.exp(log_sigma)


def noise_of(head, x, seed):
    with exploration(tf.constant(seed)):
        return np.asarray(head(tf.constant(x, tf.float32))[..., 2], np.float64)


def matrices(head, seed):
    """The noise matrix of each row, `[rows, features, 2]`, found with one feature at a time."""
    return np.stack([noise_of(head, np.eye(FEATURES)[[i] * ROWS], seed) for i in range(FEATURES)], 1)


def test_parameters_are_their_definition():
    head, kernel, bias, sigma = trained()
    loc, scale, noise = np.moveaxis(head(tf.constant(X, tf.float32)).numpy(), -1, 0)
    np.testing.assert_allclose(loc, X @ kernel + bias, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scale, np.sqrt(X**2 @ sigma**2 + 1e-6), rtol=1e-5)
    np.testing.assert_array_equal(noise, 0.0)
    assert head(tf.zeros((2, 3, FEATURES))).shape == (2, 3, 2, 3)


def test_noise_is_linear_in_the_features_with_a_matrix_for_each_row():
    head, *_ = trained()
    theta = matrices(head, [7, 9])
    np.testing.assert_allclose(noise_of(head, X, [7, 9]), np.einsum("bf,bfa->ba", X, theta), rtol=1e-4, atol=1e-6)
    assert len(np.unique(theta[:, 0, 0])) == ROWS


def test_matrices_have_the_scale_sigma_and_are_kept_for_noise_steps():
    head, *_, sigma = trained()
    drawn = [matrices(head, [7, step]) / sigma for step in range(-4, 404)]
    changes = [not np.array_equal(one, other) for one, other in itertools.pairwise(drawn)]
    assert [step for step, changed in enumerate(changes) if changed] == list(range(3, 407, 4))
    standard = np.stack(drawn[::4])  # [102, rows, features, 2], standard normal
    assert abs(standard.mean()) < 4.0 / standard.size**0.5
    assert standard.std() == pytest.approx(1.0, abs=0.05)


def test_the_distribution_is_that_of_actions_over_matrices():
    head, kernel, bias, sigma = trained(bounds=[-2.0, 2.0], hard_bounds=True)
    raw = np.random.default_rng(2).normal(size=(ROWS, 2))
    with exploration(tf.constant([1, 2])):
        params = head(tf.constant(X, tf.float32))
    loc, scale = np.clip(X @ kernel + bias, -2.0, 2.0), np.sqrt(X**2 @ sigma**2 + 1e-6)
    normal = -0.5 * ((raw - loc) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
    expected = np.sum(normal - np.log(2.0 / np.cosh(raw) ** 2), -1)
    np.testing.assert_allclose(
        head.distribution(params).log_prob_raw(tf.constant(raw, tf.float32)), expected, rtol=1e-4
    )
    np.testing.assert_allclose(head.explored(params, None), loc + noise_of(head, X, [1, 2]), rtol=1e-4, atol=1e-5)


def test_the_location_stays_within_reach_of_hard_bounds():
    head, kernel, bias, _ = trained(bounds=[-2.0, 2.0], hard_bounds=True)
    far = 20.0 * X
    loc = head(tf.constant(far, tf.float32))[..., 0].numpy()
    np.testing.assert_allclose(loc, np.clip(far @ kernel + bias, -2.0, 2.0), rtol=1e-4)
    assert np.abs(loc).max() == 2.0


def test_soft_bounds_scale_everything():
    head, kernel, bias, sigma = trained(bounds=[0.0, 6.0])
    with exploration(tf.constant([1, 2])):
        loc, scale, noise = np.moveaxis(head(tf.constant(X, tf.float32)).numpy(), -1, 0)
    np.testing.assert_allclose(loc, 3.0 + 3.0 * np.tanh(X @ kernel + bias), rtol=1e-5)
    np.testing.assert_allclose(scale, 3.0 * np.sqrt(X**2 @ sigma**2 + 1e-6), rtol=1e-5)
    free, *_ = trained()
    np.testing.assert_allclose(noise, 3.0 * noise_of(free, X, [1, 2]), rtol=1e-5)


def test_the_scale_has_no_gradient_to_the_features():
    head, *_ = trained()
    x = tf.constant(X, tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        params = head(x)
        loc, scale = tf.reduce_sum(params[..., 0]), tf.reduce_sum(params[..., 1])
    assert tape.gradient(scale, x) is None or not np.any(tape.gradient(scale, x))
    assert np.any(tape.gradient(loc, x))
    assert np.any(tape.gradient(scale, head.log_sigma.value))


@pytest.fixture(scope="module", params=["SAC", "PPO"])
def agent(request):
    keras.utils.set_random_seed(0)
    env = "tf/Pendulum-v1"
    if request.param == "SAC":
        made = krp.SAC(krp.networks.stochastic_actor(env, (4,), initial_scale=0.5, noise_steps=3))
    else:
        made = krp.PPO(krp.networks.feed_forward(env, (4,), initial_scale=0.5, noise_steps=3))
    made.compile(run_eagerly=True)
    made.build(env)
    return made


def test_an_agent_acts_with_noise_that_is_kept_and_records_its_distribution(agent):
    observation, first = tf.constant(np.random.default_rng(0).normal(size=(5, 3)), tf.float32), tf.zeros(5, tf.bool)
    raws = []
    for step in range(4):
        _, record, _ = agent.act(observation, first, (), tf.constant([3, step]))
        raws.append(record["raw"].numpy())
    assert np.array_equal(raws[0], raws[2])
    assert not np.array_equal(raws[2], raws[3])
    loc, scale, _ = np.moveaxis(np.asarray(agent.network(observation)["action"], np.float64), -1, 0)
    normal = -0.5 * ((raws[3] - loc) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
    expected = np.sum(normal - np.log(2.0 / np.cosh(raws[3]) ** 2), -1)
    parameters = record.get("parameters", agent.network(observation)["action"])
    np.testing.assert_allclose(agent.distribution(parameters).log_prob(record["raw"]), expected, rtol=1e-4)
    if "log_prob" in record:
        np.testing.assert_allclose(record["log_prob"], expected, rtol=1e-4)
    _, record, _ = agent.act(observation, first, (), tf.constant([3, 0]), deterministic=True)
    np.testing.assert_allclose(record["raw"], loc, rtol=1e-6)
    with exploration(None):
        again = agent.distribution(agent.network(observation)["action"]).sample(tf.constant([3, 0]))
    assert not np.allclose(again, raws[0])  # samples of updates are independent


def test_what_does_not_fit_is_said_in_one_sentence():
    with pytest.raises(ValueError, match="`noise_steps` must be a positive integer"):
        DenseGSDE(2, noise_steps=0)
    with pytest.raises(ValueError, match="`DenseGSDE` must be called without a mask"):
        DenseGSDE(2)([tf.zeros((1, 3)), tf.ones((1, 2))])
    with pytest.raises(ValueError, match="`noise_steps` must be `None` unless an action is a Box"):
        krp.networks.stochastic_actor("tf/CartPole-v1", noise_steps=8)


def test_the_dtype_policy_may_be_float64():
    head = DenseGSDE((2,), noise_steps=4, dtype="float64")
    with exploration(tf.constant([1, 2])):
        outputs = head(tf.constant(X))
    assert (outputs.shape, outputs.dtype) == ((ROWS, 2, 3), tf.float32)
