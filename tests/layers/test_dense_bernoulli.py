"""`DenseBernoulli`: probabilities, masks and serialization."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rl_prob.layers import DenseBernoulli

SEED = tf.constant([3, 5])
X = tf.random.stateless_normal([7, 4], SEED)


def trained(head):
    head(X)
    rng = np.random.default_rng(0)
    head.set_weights([rng.normal(size=weight.shape) for weight in head.weights])
    return head


def test_parameters_are_logits():
    head = trained(DenseBernoulli((3,)))
    kernel, bias = head.get_weights()
    on = 1 / (1 + np.exp(-(X.numpy() @ kernel + bias)))
    distribution = head.distribution(head(X))
    expected = np.log(on[:, 0] * (1 - on[:, 1]) * on[:, 2])
    np.testing.assert_allclose(distribution.log_prob([[1, 0, 1]] * 7), expected, rtol=1e-4, atol=1e-5)
    expected = -(on * np.log(on) + (1 - on) * np.log(1 - on)).sum(-1)
    np.testing.assert_allclose(distribution.entropy(), expected, rtol=1e-4)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)], ids=str)
@pytest.mark.parametrize("leading", [(5,), (6, 5)], ids=str)
def test_shapes(shape, leading):
    head = DenseBernoulli(shape)
    params = head(tf.ones([*leading, 4]))
    distribution = head.distribution(params)
    assert params.shape == (*leading, *shape) == head.compute_output_shape((*leading, 4))
    assert distribution.batch_shape == leading
    assert distribution.event_shape == shape == head.action_shape
    sample = distribution.sample(seed=SEED)
    assert (sample.shape, sample.dtype) == ((*leading, *shape), tf.int32)
    assert distribution.log_prob(sample).shape == leading


@pytest.mark.parametrize("jit_compile", [False, True])
def test_masked_entries_are_off_and_leave_no_trace(jit_compile):
    head = trained(DenseBernoulli((3,)))
    mask = tf.constant([[1.0, 0.0, 1.0]] * 6 + [[0.0] * 3])

    @tf.function(jit_compile=jit_compile)
    def results(x):
        with tf.GradientTape(persistent=True) as tape:
            distribution = head.distribution(head([x, mask]))
            other = head.distribution(head([2.0 * x, mask]))
            sample = distribution.sample(20_000, seed=SEED)
            outputs = distribution.log_prob(sample[0]), distribution.entropy(), distribution.kl_divergence(other)
        return sample, outputs, [tape.gradient(output, head.trainable_variables) for output in outputs]

    sample, outputs, gradients = results(X)
    kernel, bias = (weight.astype("float64") for weight in head.get_weights())
    on, on_other = (1 / (1 + np.exp(-(factor * X.numpy() @ kernel + bias)))[:6, ::2] for factor in (1, 2))
    np.testing.assert_allclose(np.mean(sample, 0)[:6, ::2], on, atol=0.015)
    assert np.max(sample[:, :6, 1]) == np.max(sample[:, 6]) == 0
    log_prob = np.log(np.where(sample[0, :6, ::2] == 1, on, 1 - on)).sum(-1)
    entropy = -(on * np.log(on) + (1 - on) * np.log(1 - on)).sum(-1)
    kl = (on * np.log(on / on_other) + (1 - on) * np.log((1 - on) / (1 - on_other))).sum(-1)
    for output, expected in zip(outputs, (log_prob, entropy, kl), strict=True):
        np.testing.assert_allclose(output[:6], expected, rtol=1e-3, atol=1e-5)
    assert [float(output[6]) for output in outputs] == [0.0, 0.0, 0.0]
    for kernel_gradient, bias_gradient in gradients:
        np.testing.assert_array_equal([*kernel_gradient[:, 1], bias_gradient[1]], np.zeros(5))
        assert np.all(kernel_gradient[:, ::2] != 0)


def test_parameters_are_float32_under_mixed_precision():
    head = DenseBernoulli((3,), dtype="mixed_float16")
    assert head(X).dtype == tf.float32
    assert keras.backend.standardize_dtype(head(keras.Input((4,))).dtype) == "float32"
    assert head([X, tf.zeros([7, 3])])[0, 0] == -1e9
    head.bias.assign([0.1, 0.2, 0.3])  # none of them a float16
    np.testing.assert_array_equal(head(tf.zeros([1, 4]))[0], np.float32([0.1, 0.2, 0.3]))


@pytest.mark.parametrize("masked", [False, True])
def test_functional_model_can_be_saved(tmp_path, masked):
    x, mask = keras.Input((4,)), keras.Input((3,), dtype="bool")
    head = DenseBernoulli(3, kernel_initializer=keras.initializers.VarianceScaling(0.1), name="keys")
    outputs = head([x, mask] if masked else x)
    assert outputs.shape == (None, 3)
    model = keras.Model([x, mask], outputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    inputs = [X, tf.random.stateless_uniform([7, 3], SEED) > 0.5]
    np.testing.assert_array_equal(loaded(inputs), model(inputs))
    config = loaded.get_layer("keys").get_config()
    assert config == head.get_config() == DenseBernoulli.from_config(json.loads(json.dumps(config))).get_config()
    assert config["output_shape"] == (3,)
    assert config["kernel_initializer"]["class_name"] == "VarianceScaling"


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"tuple of positive ints. Received: output_shape=0"):
        DenseBernoulli(0)
    with pytest.raises(ValueError, match=r"`mask` must end in the shape \(3,\). Received: mask.shape=\(7, 2\)"):
        DenseBernoulli((3,))([X, tf.ones([7, 2])])
