"""`FourierFeatures` against the kernel that it approximates, and as a layer."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rl_prob.layers import FourierFeatures

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)


def kernel(x, gamma):
    return np.array([[np.exp(-gamma * np.sum((a - b) ** 2)) for b in x] for a in x])


@pytest.mark.parametrize("gamma", [None, 0.3, 2.0])
def test_inner_products_approximate_the_kernel(gamma):
    layer = FourierFeatures(40_000)
    layer.build((None, 3))
    if gamma is not None:  # the layer's own sample is for 1
        random = np.random.default_rng(1)
        layer.set_weights([random.normal(0, np.sqrt(2 * gamma), (3, 40_000)), random.uniform(0, 2 * np.pi, 40_000)])
    features = layer(X).numpy()
    np.testing.assert_allclose(features @ features.T, kernel(X, gamma or 1.0), atol=0.025)  # 4 standard deviations


@pytest.mark.parametrize("scale", [None, 0.7])
def test_features_are_scaled_cosines(scale):
    layer = FourierFeatures(5, scale=scale)
    outputs = layer(X[:, None])  # any leading axes
    weights, offset = (w.astype(float) for w in layer.get_weights())
    expected = (np.sqrt(2 / 5) if scale is None else scale) * np.cos(X @ weights + offset)
    assert outputs.shape == layer.compute_output_shape((12, 1, 3)) == (12, 1, 5)
    np.testing.assert_allclose(outputs[:, 0], expected, atol=1e-5)


def test_the_draw_is_gaussian_and_uniform_and_another_for_each_layer():
    one, other = FourierFeatures(20_000), FourierFeatures(20_000)
    one.build((None, 2))
    other.build((None, 2))
    weights, offset = one.get_weights()
    assert weights.mean() == pytest.approx(0.0, abs=0.03)
    assert weights.var() == pytest.approx(2.0, abs=0.06)
    assert (offset.min(), offset.max()) == (pytest.approx(0.0, abs=0.01), pytest.approx(2 * np.pi, abs=0.01))
    assert offset.mean() == pytest.approx(np.pi, abs=0.06)
    assert not np.array_equal(weights, other.get_weights()[0])


def test_nothing_is_trained_but_gradients_pass():
    layer = FourierFeatures(5)
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(layer(x))
    assert layer.trainable_variables == []
    assert len(layer.non_trainable_variables) == 2
    weights, offset = layer.get_weights()
    expected = -np.sqrt(2 / 5) * np.sin(X @ weights + offset) @ weights.T
    np.testing.assert_allclose(tape.gradient(y, x), expected, atol=1e-4)


def test_config_and_saved_weights(tmp_path):
    layer = FourierFeatures(5, scale=0.3, name="waves")
    again = FourierFeatures.from_config(layer.get_config())
    assert (again.units, again.scale, again.name) == (5, 0.3, "waves")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(X), model(X))
