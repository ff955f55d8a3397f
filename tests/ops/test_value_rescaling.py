"""The rescaling of values against its definition in float64, its inverse, and the gradients of both."""

import numpy as np
import pytest
import tensorflow as tf

from keras_rl_prob import ops

MODES = {"eager": lambda f: f, "graph": tf.function, "jit": tf.function(jit_compile=True)}
MAGNITUDES = np.geomspace(1e-8, 1e4, 400)
X = np.concatenate([-MAGNITUDES[::-1], [0.0], MAGNITUDES])


def h(x, epsilon):
    return np.sign(x) * (np.sqrt(np.abs(x) + 1) - 1) + epsilon * x


def value_and_gradient(function, x, epsilon, mode="eager"):
    def call(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x, epsilon)
        return y, tape.gradient(y, x)

    return [y.numpy() for y in MODES[mode](call)(tf.constant(x, tf.float32))]


def solved(y, epsilon):
    """Solves `h(x) = y` for x by bisection in float64."""
    low, high = np.full(y.shape, -1e9), np.full(y.shape, 1e9)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = np.where(h(middle, epsilon) < y, middle, low), np.where(h(middle, epsilon) < y, high, middle)
    return (low + high) / 2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("epsilon", [1e-3, 1e-2, 0.5])
def test_definition(epsilon, mode):
    values, gradients = value_and_gradient(ops.rescale, X, epsilon, mode)
    np.testing.assert_allclose(values, h(X, epsilon), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(gradients, 0.5 / np.sqrt(np.abs(X) + 1) + epsilon, rtol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("epsilon", [1e-3, 1e-2, 0.5])
def test_inverse_solves_the_definition(epsilon, mode):
    y = h(X, epsilon)
    values, gradients = value_and_gradient(ops.inverse_rescale, y, epsilon, mode)
    np.testing.assert_allclose(values, solved(y, epsilon), rtol=3e-6, atol=1e-12)
    np.testing.assert_allclose(gradients, 1 / (0.5 / np.sqrt(np.abs(X) + 1) + epsilon), rtol=3e-6)


@pytest.mark.parametrize("epsilon", [1e-3, 1e-2, 0.5])
def test_there_and_back(epsilon):
    x = tf.constant(X, tf.float32)
    np.testing.assert_allclose(ops.inverse_rescale(ops.rescale(x, epsilon), epsilon), x, rtol=3e-6)
    np.testing.assert_allclose(ops.rescale(ops.inverse_rescale(x, epsilon), epsilon), x, rtol=3e-6)


def test_default_epsilon_is_that_of_the_paper():
    np.testing.assert_array_equal(ops.rescale(X), ops.rescale(X, 1e-3))
    np.testing.assert_array_equal(ops.inverse_rescale(X), ops.inverse_rescale(X, 1e-3))


@pytest.mark.parametrize("function", [ops.rescale, ops.inverse_rescale])
def test_monotone_and_odd(function):
    y = function(tf.constant(X, tf.float32)).numpy()
    assert np.all(np.diff(y) > 0)
    np.testing.assert_array_equal(y, -y[::-1])


@pytest.mark.parametrize(("function", "expected"), [(ops.rescale, 0.501), (ops.inverse_rescale, 1 / 0.501)])
def test_gradient_at_zero(function, expected):
    """A new network may well give exactly 0."""
    for zero in (0.0, -0.0):
        value, gradient = value_and_gradient(function, [zero], 1e-3)
        assert value == [0]
        np.testing.assert_allclose(gradient, [expected], rtol=1e-6)
