"""Terms of value-based losses on crafted cases and against their definitions."""

import numpy as np
import pytest
import tensorflow as tf

from keras_rl_prob import ops

MODES = {"eager": lambda f: f, "graph": tf.function, "jit": tf.function(jit_compile=True)}

# The best action by the target network, the best by the online network and the first one are all different.
TARGET = [[1.0, 5.0, 3.0], [-1.0, -4.0, -2.0]]
ONLINE = [[0.0, 1.0, 2.0], [7.0, 6.0, 9.0]]


@pytest.mark.parametrize("mode", MODES)
def test_values_to_bootstrap_from(mode):
    plain, double = (MODES[mode](ops.bootstrap_values) for _ in range(2))
    np.testing.assert_array_equal(plain(tf.constant(TARGET)), [5, -1])
    np.testing.assert_array_equal(double(tf.constant(TARGET), tf.constant(ONLINE)), [3, -2])
    np.testing.assert_array_equal(double(tf.constant(TARGET), tf.constant(TARGET)), [5, -1])


@pytest.mark.parametrize("shape", [(4,), (5, 4), (3, 5, 4)], ids=str)
def test_double_q_learning_by_a_loop(shape):
    rng = np.random.default_rng(0)
    target, online = rng.normal(size=(2, *shape))
    best = [(*i, max(range(4), key=lambda a, i=i: online[(*i, a)])) for i in np.ndindex(shape[:-1])]
    expected = np.reshape([target[i] for i in best], shape[:-1])
    result = ops.bootstrap_values(tf.constant(target), tf.constant(online))
    assert result.shape == shape[:-1]
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(ops.bootstrap_values(tf.constant(target)), target.max(-1))


@pytest.mark.parametrize("mode", MODES)
def test_no_action_that_a_mask_forbids_is_bootstrapped_from(mode):
    target, online = tf.constant([[1.0, -1e9, 2.0]]), tf.constant([[3.0, -1e9, 0.0]])
    np.testing.assert_array_equal(MODES[mode](ops.bootstrap_values)(target), [2])
    np.testing.assert_array_equal(MODES[mode](ops.bootstrap_values)(target, online), [1])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(4,), (5, 4), (3, 5, 4)], ids=str)
def test_chosen_by_a_loop(shape, mode):
    rng = np.random.default_rng(1)
    values, actions = rng.normal(size=shape), np.asarray(rng.integers(0, 4, shape[:-1]), "int32")
    result = MODES[mode](ops.chosen)(tf.constant(values), tf.constant(actions))
    expected = np.reshape([values[(*i, actions[i])] for i in np.ndindex(shape[:-1])], shape[:-1])
    np.testing.assert_array_equal(result, expected)


def test_only_the_chosen_value_gets_a_gradient():
    values = tf.constant(TARGET)
    with tf.GradientTape() as tape:
        tape.watch(values)
        loss = tf.reduce_sum(ops.chosen(values, tf.constant([2, 0])) * [10.0, 20.0])
    np.testing.assert_array_equal(tf.convert_to_tensor(tape.gradient(loss, values)), [[0, 0, 10], [20, 0, 0]])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("delta", [0.5, 1.0, 3.0])
def test_huber_and_its_gradient_by_their_two_branches(delta, mode):
    """The errors lie inside, on and beyond both bounds; the gradient is the error, clipped to them."""
    errors = np.array([-100.0, -3, -1.5, -1, -0.5, -0.2, 0, 0.2, 0.5, 1, 1.5, 3, 100])

    def value_and_gradient(e):
        with tf.GradientTape() as tape:
            tape.watch(e)
            loss = ops.huber(e, delta)
        return loss, tape.gradient(loss, e)

    loss, gradient = MODES[mode](value_and_gradient)(tf.constant(errors, tf.float32))
    expected = [e**2 / 2 if abs(e) <= delta else delta * (abs(e) - delta / 2) for e in errors]
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, np.clip(errors, -delta, delta), rtol=1e-6)


def test_huber_without_a_bound_is_half_the_square():
    np.testing.assert_array_equal(ops.huber(tf.constant([-300.0, 0.0, 3.0]), None), [45_000, 0, 4.5])
