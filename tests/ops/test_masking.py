"""Masked statistics against NumPy on the items that are not masked."""

import numpy as np
import pytest
import tensorflow as tf

from keras_rl_prob import ops

MODES = {"eager": lambda f: f, "graph": tf.function, "jit": tf.function(jit_compile=True)}


def masked(seed=0):
    """Values, a second set, and a mask; what is masked out is NaN or huge in both."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(3.0, 2.0, size=(2, 6, 5)).astype(np.float32)
    mask = rng.uniform(size=(6, 5)) < 0.6
    x[~mask], y[~mask] = np.nan, 1e30
    return x, y, mask


@pytest.mark.parametrize("mode", MODES)
def test_statistics_are_those_of_the_items_that_count(mode):
    x, y, mask = masked()
    assert 0 < mask.sum() < mask.size
    run = MODES[mode]
    np.testing.assert_allclose(run(ops.masked_mean)(x, mask), x[mask].mean(), rtol=1e-5)
    normalized = run(ops.masked_normalize)(x, mask).numpy()
    np.testing.assert_allclose(normalized[mask], (x[mask] - x[mask].mean()) / x[mask].std(), rtol=1e-4, atol=1e-5)
    assert (normalized[~mask] == 0).all()
    expected = 1 - np.var(y[mask] - x[mask]) / np.var(y[mask])
    np.testing.assert_allclose(run(ops.explained_variance)(x, y, mask), expected, rtol=1e-4)


def test_numeric_masks_are_as_good():
    x, y, mask = masked()
    number = mask.astype(np.float32)
    np.testing.assert_array_equal(ops.masked_mean(x, number), ops.masked_mean(x, mask))
    np.testing.assert_array_equal(ops.masked_normalize(x, number), ops.masked_normalize(x, mask))
    np.testing.assert_array_equal(ops.explained_variance(x, y, number), ops.explained_variance(x, y, mask))


def test_masked_items_get_no_gradient():
    x, _, mask = masked()
    x[~mask] = 4.0
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        mean = ops.masked_mean(x**2, mask)
    gradient = tape.gradient(mean, x).numpy()
    np.testing.assert_allclose(gradient[mask], 2 * x.numpy()[mask] / mask.sum(), rtol=1e-5)
    assert (gradient[~mask] == 0).all()


def test_nothing_counts():
    nothing = np.zeros((3,), bool)
    assert ops.masked_mean(tf.ones((3,)), nothing) == 0
    np.testing.assert_array_equal(ops.masked_normalize(tf.ones((3,)), nothing), [0, 0, 0])
    assert ops.explained_variance(tf.ones((3,)), tf.range(3.0), nothing) == 0


def test_epsilon_keeps_constants_finite():
    np.testing.assert_array_equal(ops.masked_normalize(tf.fill((4,), 2.0), np.ones((4,), bool)), [0, 0, 0, 0])
    np.testing.assert_allclose(ops.masked_normalize([0.0, 2.0], [True, True], epsilon=1.0), [-0.5, 0.5])


def test_explained_variance_of_known_predictions():
    everything, targets = np.ones((4,), bool), tf.constant([1.0, 2.0, 3.0, 6.0])
    assert ops.explained_variance(targets, targets, everything) == 1
    assert ops.explained_variance(targets + 5.0, targets, everything) == 1  # a bias is not part of the variance
    assert ops.explained_variance(tf.fill((4,), 9.0), targets, everything) == 0
    assert ops.explained_variance(-targets, targets, everything) == -3  # 1 - 2^2
    assert ops.explained_variance(targets, tf.fill((4,), 9.0), everything) == 0


def test_errors():
    with pytest.raises(ValueError, match=r"`mask` must have the shape of `x`, \(3,\). Received: mask.shape=\(3, 1\)"):
        ops.masked_mean(tf.ones((3,)), np.ones((3, 1), bool))
    with pytest.raises(
        ValueError, match=r"`targets` must have the shape of `values`, \(3,\). Received: targets.shape=\(1,\)"
    ):
        ops.explained_variance(tf.ones((3,)), tf.ones((1,)), np.ones((3,), bool))


def test_weighted_statistics_by_hand():
    x, mask = tf.constant([1.0, 5.0, np.nan, 9.0]), tf.constant([True, True, True, False])
    weights = tf.constant([3.0, 1.0, 0.0, 7.0])
    assert float(ops.masked_mean(x, mask, weights)) == 2.0  # (3 * 1 + 1 * 5) / 4
    normal = ops.masked_normalize(x[:2], mask[:2], weights=weights[:2])
    np.testing.assert_allclose(normal, np.array([-1.0, 3.0]) / np.sqrt(3.0), rtol=1e-6)  # (3 * 1 + 1 * 9) / 4
    assert float(ops.masked_mean(x, mask, tf.zeros(4))) == 0.0
    equal = ops.masked_mean(tf.constant([1.0, 2.0, 6.0]), tf.ones(3), tf.fill((3,), 0.25))
    assert float(equal) == 3.0
