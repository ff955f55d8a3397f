"""`DenseCategorical`: masks, components with different numbers of classes, frequencies of samples and serialization."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rl_prob.layers import DenseCategorical

SEED = tf.constant([3, 5])
X = tf.random.stateless_normal([7, 4], SEED)


def trained(head, x=X):
    head(x)
    rng = np.random.default_rng(0)
    head.set_weights([rng.normal(size=weight.shape) for weight in head.weights])
    return head


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_parameters_are_logits():
    head = trained(DenseCategorical((2, 3)))
    kernel, bias = head.get_weights()
    expected = (X.numpy() @ kernel).reshape(7, 2, 3) + bias
    params = head(X)
    np.testing.assert_allclose(params, expected, rtol=1e-5, atol=1e-5)
    actions = np.array([[0, 2]] * 7)
    log_prob = np.log(softmax(expected))
    np.testing.assert_allclose(
        head.distribution(params).log_prob(actions), log_prob[:, 0, 0] + log_prob[:, 1, 2], rtol=1e-4, atol=1e-5
    )


def test_a_new_policy_is_nearly_uniform():
    probabilities = softmax(DenseCategorical((5,))(X).numpy())
    assert 0 < np.abs(probabilities - 0.2).max() < 0.01


@pytest.mark.parametrize(("shape", "action_shape"), [((5,), ()), ((2, 5), (2,)), ((3, 2, 5), (3, 2))], ids=str)
@pytest.mark.parametrize("leading", [(5,), (6, 5)], ids=str)
def test_shapes(shape, action_shape, leading):
    head = DenseCategorical(shape)
    params = head(tf.ones([*leading, 4]))
    distribution = head.distribution(params)
    assert params.shape == (*leading, *shape) == head.compute_output_shape((*leading, 4))
    assert distribution.batch_shape == leading
    assert distribution.event_shape == action_shape == head.action_shape
    sample = distribution.sample(seed=SEED)
    assert (sample.shape, sample.dtype) == ((*leading, *action_shape), tf.int32)
    assert (distribution.mode().shape, distribution.mode().dtype) == (sample.shape, tf.int32)
    assert distribution.log_prob(sample).shape == leading


def test_an_int_or_a_numpy_int_is_a_shape():
    assert DenseCategorical(5).mask_shape == DenseCategorical((np.int64(5),)).mask_shape == (5,)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_frequencies_under_a_mask(jit_compile):
    # 100,000 draws: the standard error of a frequency is at most 0.0016.
    head = trained(DenseCategorical((6,)), x=X[:1])
    mask = tf.constant([[1, 0, 1, 1, 0, 0]])
    params = head([X[:1], mask])

    @tf.function(jit_compile=jit_compile)
    def draw(seed):
        return head.distribution(params).sample(100_000, seed=seed)

    counts = np.bincount(draw(SEED)[:, 0], minlength=6)
    assert list(counts[[1, 4, 5]]) == [0, 0, 0]
    free = head(X[:1]).numpy()[0]
    np.testing.assert_allclose(counts[[0, 2, 3]] / 100_000, softmax(free[[0, 2, 3]]), atol=0.0065)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_masked_classes_leave_no_trace(jit_compile):
    head = trained(DenseCategorical((2, 3)))
    mask = np.array([[[True, False, True], [False, True, True]]] * 6 + [[[True, False, False], [False, False, True]]])
    actions = tf.constant([[0, 2]] * 7)

    @tf.function(jit_compile=jit_compile)
    def results(x):
        with tf.GradientTape(persistent=True) as tape:
            distribution, other = (head.distribution(head([features, mask])) for features in (x, 2.0 * x))
            outputs = distribution.log_prob(actions), distribution.entropy(), distribution.kl_divergence(other)
        return outputs, [tape.gradient(output, head.trainable_variables) for output in outputs]

    (log_prob, entropy, kl), gradients = results(X)
    params = head([X, tf.constant(mask)]).numpy()
    np.testing.assert_array_equal(params[~mask], np.float32(-1e9))
    kernel, bias = head.get_weights()
    p, q = (
        softmax(np.where(mask, (factor * X.numpy().astype("float64") @ kernel).reshape(7, 2, 3) + bias, -np.inf))
        for factor in (1, 2)
    )
    np.testing.assert_array_equal(softmax(params)[~mask], 0.0)
    log_p, log_q = np.log(np.where(mask, p, 1)), np.log(np.where(mask, q, 1))
    np.testing.assert_allclose(log_prob, log_p[:, 0, 0] + log_p[:, 1, 2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(entropy, -(p * log_p).sum((1, 2)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(kl, (p * (log_p - log_q)).sum((1, 2)), rtol=1e-3, atol=1e-5)
    for kernel_gradient, bias_gradient in gradients:
        kernel_gradient = np.reshape(kernel_gradient, (4, 2, 3))
        allowed = mask.any(axis=0)
        np.testing.assert_array_equal([*kernel_gradient[:, ~allowed].ravel(), *bias_gradient[~allowed]], np.zeros(10))
        assert np.all(kernel_gradient[:, allowed] != 0)


def test_a_mask_that_allows_nothing_means_any_class():
    head = trained(DenseCategorical((2, 4), num_classes=(4, 2)))
    with tf.GradientTape() as tape:
        distribution = head.distribution(head([X, tf.zeros([7, 2, 4])]))
        loss = tf.reduce_sum(distribution.log_prob([[0, 0]] * 7))
    expected = [[0.25] * 4, [0.5, 0.5, 0, 0]]
    np.testing.assert_allclose(distribution.distribution.probs_parameter()[0], expected, rtol=1e-6)
    for gradient in tape.gradient(loss, head.trainable_variables):
        np.testing.assert_array_equal(gradient, tf.zeros_like(gradient))


def test_components_may_have_different_numbers_of_classes():
    head = trained(DenseCategorical((3, 4), num_classes=(4, 2, 3)))
    distribution = head.distribution(head(X))
    samples = distribution.sample(20_000, seed=SEED).numpy()
    np.testing.assert_array_equal(samples.max(axis=(0, 1)), [3, 1, 2])
    np.testing.assert_array_equal(samples.min(axis=(0, 1)), [0, 0, 0])
    kernel, bias = head.get_weights()
    logits = (X.numpy() @ kernel).reshape(7, 3, 4) + bias
    expected = (
        np.log(softmax(logits[:, 0]))[:, 3]
        + np.log(softmax(logits[:, 1, :2]))[:, 1]
        + np.log(softmax(logits[:, 2, :3]))[:, 2]
    )
    np.testing.assert_allclose(distribution.log_prob([[3, 1, 2]] * 7), expected, rtol=1e-4)
    np.testing.assert_array_equal(head.num_classes, [4, 2, 3])
    np.testing.assert_array_equal(DenseCategorical((3, 4)).num_classes, [4, 4, 4])


def test_parameters_are_float32_under_mixed_precision():
    head = DenseCategorical((3,), dtype="mixed_float16")
    assert head(X).dtype == tf.float32
    assert keras.backend.standardize_dtype(head(keras.Input((4,))).dtype) == "float32"
    assert head([X, tf.zeros([7, 3])])[0, 0] == -1e9


@pytest.mark.parametrize("masked", [False, True])
def test_functional_model_can_be_saved(tmp_path, masked):
    x, mask = keras.Input((4,)), keras.Input((2, 3), dtype="bool")
    head = DenseCategorical((2, 3), num_classes=[3, 2], bias_initializer="ones", bias_regularizer="l2", name="tool")
    outputs = head([x, mask] if masked else x)
    assert outputs.shape == (None, 2, 3)
    model = keras.Model([x, mask], outputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    inputs = [X, tf.random.stateless_uniform([7, 2, 3], SEED) > 0.5]
    np.testing.assert_array_equal(loaded(inputs), model(inputs))
    np.testing.assert_allclose(loaded.losses, [6 * 0.01], rtol=1e-6)
    config = loaded.get_layer("tool").get_config()
    assert config == head.get_config() == DenseCategorical.from_config(json.loads(json.dumps(config))).get_config()
    assert config["num_classes"] == [3, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output_shape": ()}, r"must have an axis of classes. Received: output_shape=\(\)"),
        ({"output_shape": (-1,)}, r"tuple of positive ints. Received: output_shape=\(-1,\)"),
        ({"num_classes": (3, 4)}, r"ints from 1 to 3 of shape \(2,\). Received: num_classes=\(3, 4\)"),
        ({"num_classes": (3, 0)}, r"ints from 1 to 3"),
        ({"num_classes": (3,)}, r"ints from 1 to 3"),
        ({"num_classes": (3, 2.5)}, r"ints from 1 to 3"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        DenseCategorical(**{"output_shape": (2, 3), **arguments})


def test_bad_mask_shape():
    with pytest.raises(ValueError, match=r"`mask` must end in the shape \(2, 3\). Received: mask.shape=\(7, 3\)"):
        DenseCategorical((2, 3))([X, tf.ones([7, 3])])
