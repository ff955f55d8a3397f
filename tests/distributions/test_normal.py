"""Samples against the normal distribution function; the rest is TensorFlow Probability's."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from keras_rl_prob.distributions import Normal

SEED = tf.constant([3, 5])


def test_samples_follow_the_distribution_function():
    # Kolmogorov-Smirnov: with 200,000 draws a deviation of 1.95 / sqrt(n) = 0.0044 has probability 0.001.
    loc, scale = 1.5, 0.25
    samples = np.sort(Normal(loc, scale).sample(200_000, seed=SEED).numpy())
    expected = np.array([0.5 * (1 + math.erf((x - loc) / scale / math.sqrt(2))) for x in samples])
    observed = np.arange(1, len(samples) + 1) / len(samples)
    assert np.max(np.abs(observed - expected)) < 0.0044


def test_the_tails_are_reached_and_finite():
    samples = Normal(0.0, 1.0).sample(2_000_000, seed=SEED).numpy()
    assert np.isfinite(samples).all()
    assert 4.5 < samples.max() < 5.4
    assert 4.5 < -samples.min() < 5.4


def test_components_and_draws_are_independent():
    samples = Normal(tf.zeros([3]), 1.0).sample(100_000, seed=SEED).numpy()
    np.testing.assert_allclose(np.corrcoef(samples.T), np.eye(3), atol=0.02)
    assert abs(np.corrcoef(samples[1:, 0], samples[:-1, 0])[0, 1]) < 0.02


@pytest.mark.parametrize("dtype", [tf.float16, tf.float32, tf.float64])
def test_dtype_and_shape(dtype):
    samples = Normal(tf.zeros([3, 1], dtype), tf.ones([2], dtype)).sample([5, 4], seed=SEED)
    assert samples.dtype == dtype
    assert samples.shape == [5, 4, 3, 2]


def test_gradient_is_that_of_the_reparameterisation():
    loc, scale = tf.constant([0.5, -2.0]), tf.constant([0.1, 3.0])
    with tf.GradientTape() as tape:
        tape.watch([loc, scale])
        samples = Normal(loc, scale).sample(seed=SEED)
    loc_gradient, scale_gradient = tape.gradient(samples, [loc, scale])
    np.testing.assert_allclose(loc_gradient, [1.0, 1.0])
    np.testing.assert_allclose(scale_gradient, (samples - loc) / scale, rtol=1e-5)


def test_compiled_samples_equal_eager_ones():
    draw = tf.function(lambda seed: Normal(tf.zeros([3]), 2.0).sample(4, seed=seed), jit_compile=True)
    np.testing.assert_allclose(draw(SEED), Normal(tf.zeros([3]), 2.0).sample(4, seed=SEED), rtol=1e-5, atol=1e-6)


def test_divergences_of_the_parent_are_found():
    ours, theirs = Normal(0.0, 1.0), tfp.distributions.Normal(1.0, 1.0)
    np.testing.assert_allclose(ours.kl_divergence(theirs), 0.5)
    np.testing.assert_allclose(ours.kl_divergence(ours), 0.0)
