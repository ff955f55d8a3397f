"""`DenseNormal`: parameters against their definition, bounds, masks and serialization."""

import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rl_prob.distributions import BoundedNormal
from keras_rl_prob.layers import DenseNormal

SEED = tf.constant([3, 5])
X = tf.random.stateless_normal([7, 4], SEED)


def trained(head, x=X, stddev=1.0):
    """Gives a head weights that are far from their initial values."""
    head(x)
    rng = np.random.default_rng(0)
    head.set_weights([rng.normal(scale=stddev, size=weight.shape) for weight in head.weights])
    return head


def test_parameters_are_location_and_scale():
    # By hand: loc = x kernel + bias, scale = 0.001 + 0.999 softplus(s) / log 2.
    head = trained(DenseNormal((3,)))
    kernel, bias, s = head.get_weights()
    params = head(X)
    assert params.shape == [7, 3, 2]
    np.testing.assert_allclose(params[..., 0], X.numpy() @ kernel + bias, rtol=1e-5, atol=1e-5)
    expected = 0.001 + 0.999 * np.log1p(np.exp(s)) / math.log(2)
    np.testing.assert_allclose(params[..., 1], np.broadcast_to(expected, (7, 3)), rtol=1e-5)


def test_state_dependent_scale_has_its_own_weights():
    head = trained(DenseNormal((3,), state_dependent_scale=True, scale_activation="exponential", initial_scale=0.5))
    kernel, bias = head.get_weights()
    outputs = (X.numpy() @ kernel).reshape(7, 3, 2) + bias
    params = head(X)
    np.testing.assert_allclose(params[..., 0], outputs[..., 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(params[..., 1], 0.001 + 0.499 * np.exp(outputs[..., 1]), rtol=1e-4)
    assert np.all(np.std(params[..., 1], axis=0) > 0.01)


def test_scale_is_a_vector_unless_it_depends_on_the_state():
    params = trained(DenseNormal((3,)))(X).numpy()
    np.testing.assert_array_equal(params[..., 1], np.broadcast_to(params[0, :, 1], (7, 3)))
    assert len(set(params[0, :, 1])) == 3


@pytest.mark.parametrize("activation", ["softplus", "exponential", "sigmoid"])
@pytest.mark.parametrize(
    ("bounds", "hard_bounds", "unit"), [(None, False, 1.0), ([-2.0, 4.0], False, 3.0), ([-2.0, 4.0], True, 1.0)]
)
def test_initial_scale_and_location(activation, bounds, hard_bounds, unit):
    for state_dependent_scale in (False, True):
        head = DenseNormal((2,), bounds, hard_bounds, state_dependent_scale, None, activation, 0.35)
        params = head(tf.zeros([1, 4]))
        np.testing.assert_allclose(params[0, :, 1], [0.35 * unit] * 2, rtol=1e-6)
        mode = head.distribution(params).mode()
        np.testing.assert_allclose(mode[0], [0.0 if bounds is None else 1.0] * 2, atol=1e-6)
        spread = head(X)[..., 0].numpy() - params[..., 0].numpy()
        assert 0 < np.abs(spread).max() < 0.1 * unit


def test_soft_bounds_hold_for_the_mean_only():
    head = trained(DenseNormal((2,), [[-1.0, 1.0], [0.0, 4.0]]), stddev=2.0)
    kernel, bias, s = head.get_weights()
    distribution = head.distribution(head(X))
    mean = distribution.mean().numpy()
    np.testing.assert_allclose(
        mean, [0, 2] + np.array([1, 2]) * np.tanh(X.numpy() @ kernel + bias), rtol=1e-4, atol=1e-5
    )
    assert np.all((mean >= [-1, 0]) & (mean <= [1, 4]))
    scale = np.array([1, 2]) * (0.001 + 0.999 * np.log1p(np.exp(s)) / math.log(2))
    np.testing.assert_allclose(distribution.stddev()[0], scale, rtol=1e-5)
    samples = distribution.sample(500, seed=SEED).numpy()
    assert np.any(samples > [1, 4])


def test_hard_bounds_hold_for_samples():
    head = trained(DenseNormal((2,), [[-1.0, 1.0], [0.0, 4.0]], hard_bounds=True))
    distribution = head.distribution(head(X))
    assert isinstance(distribution, BoundedNormal)
    samples = distribution.sample(500, seed=SEED).numpy()
    assert np.all((samples >= [-1, 0]) & (samples <= [1, 4]))
    assert samples[..., 0].min() < -0.5
    assert samples[..., 1].max() > 3.5
    np.testing.assert_allclose(distribution.mode_raw(), head(X)[..., 0])


def test_loc_activation():
    head = trained(DenseNormal((3,), loc_activation="relu"))
    kernel, bias, _ = head.get_weights()
    np.testing.assert_allclose(head(X)[..., 0], np.maximum(X.numpy() @ kernel + bias, 0), rtol=1e-5, atol=1e-5)


def test_scale_never_reaches_zero():
    head = DenseNormal((1,))
    head(X)
    head.scale.assign([-1000.0])
    params = head(X)
    np.testing.assert_allclose(params[..., 1], np.full([7, 1], 1e-3), rtol=1e-5)
    assert np.isfinite(head.distribution(params).log_prob(params[..., 0] + 1.0)).all()


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)], ids=str)
@pytest.mark.parametrize("leading", [(5,), (6, 5)], ids=str)
@pytest.mark.parametrize("hard_bounds", [False, True])
def test_shapes(shape, leading, hard_bounds):
    head = DenseNormal(shape, [-1.0, 1.0], hard_bounds, state_dependent_scale=True)
    params = head(tf.ones([*leading, 4]))
    distribution = head.distribution(params)
    assert params.shape == (*leading, *shape, 2) == head.compute_output_shape((*leading, 4))
    assert distribution.batch_shape == leading
    assert distribution.event_shape == shape == head.action_shape
    sample = distribution.sample(seed=SEED)
    assert (sample.shape, sample.dtype) == ((*leading, *shape), tf.float32)
    assert distribution.log_prob(sample).shape == leading


@pytest.mark.parametrize("hard_bounds", [False, True])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_masked_components_are_absent(hard_bounds, jit_compile):
    head = trained(DenseNormal((3,), [-1.0, 1.0], hard_bounds))
    mask = tf.constant([[True, False, True]] * 6 + [[False] * 3])

    @tf.function(jit_compile=jit_compile)
    def results(x):
        with tf.GradientTape() as tape:
            params = head([x, mask])
            tape.watch(params)
            distribution, free = head.distribution(params), head.distribution(params[..., :2])
            action = tf.fill([7, 3], 0.5)
            loss = distribution.log_prob(action) + distribution.entropy() + distribution.kl_divergence(distribution)
        part = DenseNormal((2,), [-1.0, 1.0], hard_bounds).distribution(tf.gather(params[..., :2], [0, 2], axis=1))
        alone = part.log_prob(action[:, :2]) + part.entropy()
        return (
            params,
            distribution.sample(seed=SEED),
            distribution.mode(),
            free.mode(),
            loss,
            alone,
            tape.gradient(loss, params),
        )

    params, sample, mode, free_mode, loss, alone, gradient = results(X)
    assert params.shape == [7, 3, 3]
    np.testing.assert_array_equal(params[..., 2], tf.cast(mask, tf.float32))
    np.testing.assert_allclose(loss[:6], alone[:6], rtol=1e-5)
    assert loss[6] == 0
    np.testing.assert_array_equal(gradient[..., :2].numpy()[~mask.numpy()], 0.0)
    assert np.all(gradient[..., 0].numpy()[mask.numpy()] != 0)
    np.testing.assert_allclose(sample.numpy()[~mask.numpy()], mode.numpy()[~mask.numpy()], rtol=1e-5)
    np.testing.assert_allclose(sample.numpy()[~mask.numpy()], free_mode.numpy()[~mask.numpy()], rtol=1e-5)
    assert np.all(sample.numpy()[mask.numpy()] != free_mode.numpy()[mask.numpy()])


def test_compiled_parameters_equal_eager_ones():
    head = trained(DenseNormal((3,), [-1.0, 1.0], state_dependent_scale=True))
    np.testing.assert_allclose(tf.function(head, jit_compile=True)(X), head(X), rtol=1e-5, atol=1e-6)


def test_parameters_are_float32_under_mixed_precision():
    head = DenseNormal((3,), [-1.0, 1.0], dtype="mixed_float16")
    assert head(X).dtype == tf.float32
    assert head([X, tf.ones([7, 3])]).dtype == tf.float32
    assert keras.backend.standardize_dtype(head(keras.Input((4,))).dtype) == "float32"
    reference = DenseNormal((3,), [-1.0, 1.0])
    reference(X)
    for layer in (head, reference):
        layer.scale.assign([0.1, 0.2, 0.3])  # none of them a float16
    np.testing.assert_array_equal(head(X)[..., 1], reference(X)[..., 1])
    assert DenseNormal((3,), dtype="float64")(X).dtype == tf.float32


@pytest.mark.parametrize("masked", [False, True])
def test_functional_model_can_be_saved(tmp_path, masked):
    x, mask = keras.Input((4,)), keras.Input((2, 3), dtype="bool")
    bounds = [[[-1, 1], [0, 2], [0, 3]]] * 2
    head = DenseNormal(
        (2, 3),
        bounds,
        hard_bounds=True,
        state_dependent_scale=True,
        loc_activation="tanh",
        scale_activation="exponential",
        initial_scale=0.5,
        use_bias=False,
        kernel_initializer="glorot_normal",
        kernel_regularizer=keras.regularizers.L2(0.1),
        name="move",
    )
    outputs = head([x, mask] if masked else x)
    assert outputs.shape == (None, 2, 3, 3 if masked else 2)
    model = keras.Model([x, mask], outputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    inputs = [X, tf.random.stateless_uniform([7, 2, 3], SEED) > 0.5]
    np.testing.assert_array_equal(loaded(inputs), model(inputs))
    assert len(loaded.losses) == 1
    config = loaded.get_layer("move").get_config()
    assert config == head.get_config() == DenseNormal.from_config(json.loads(json.dumps(config))).get_config()
    assert (config["bounds"], config["initial_scale"], config["use_bias"]) == (bounds, 0.5, False)
    np.testing.assert_array_equal(loaded.get_layer("move").high, [[1, 2, 3], [1, 2, 3]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"bounds": [1.0, -1.0]},
            r"`bounds` must be finite and every low below its high. Received: bounds=\[1.0, -1.0\]",
        ),
        ({"bounds": [-math.inf, 1.0]}, r"`bounds` must be finite"),
        ({"bounds": [1.0, 2.0, 3.0]}, r"must broadcast to the shape \(2, 2\). Received: bounds=\[1.0, 2.0, 3.0\]"),
        ({"hard_bounds": True}, r"`hard_bounds` needs `bounds`"),
        ({"initial_scale": 0.001}, r"`initial_scale` must be a number above 0.001. Received: initial_scale=0.001"),
        ({"scale_activation": "relu"}, r"must be positive at 0. Received: scale_activation=relu"),
        ({"output_shape": (2, 0)}, r"tuple of positive ints. Received: output_shape=\(2, 0\)"),
        ({"output_shape": (2.5,)}, r"tuple of positive ints"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        DenseNormal(**{"output_shape": (2,), **arguments})


def test_bad_mask_shape():
    with pytest.raises(ValueError, match=r"`mask` must end in the shape \(3,\). Received: mask.shape=\(7, 2\)"):
        DenseNormal((3,))([X, tf.ones([7, 2])])
