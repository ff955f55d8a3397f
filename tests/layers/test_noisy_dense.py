"""`NoisyDense` against the equations of the paper, with the noise read from its variables."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.layers import NoisyDense

SEED = tf.constant([3, 5])
X = tf.random.stateless_normal([7, 4], SEED)
KINDS = ["factorized", "independent"]


def noisy(kind, units=3, inputs=4, **kwargs):
    """A layer with other weights than its initial ones, and with noise."""
    layer = NoisyDense(units, kind=kind, **kwargs)
    layer(tf.zeros([1, inputs]))
    rng = np.random.default_rng(0)
    for weight in layer.trainable_variables:
        weight.assign(rng.normal(size=weight.shape))
    layer.resample(SEED)
    return layer


def epsilons(layer):
    """The noise of the kernel and of the bias: equations (10) and (11) of the paper, or one number for each weight."""
    if layer.kind == "independent":
        return layer.noise_kernel.numpy(), layer.noise_bias.numpy()
    kernel = [[e_in * e_out for e_out in layer.noise_out.numpy()] for e_in in layer.noise_in.numpy()]
    return np.array(kernel), layer.noise_out.numpy()


def effective_weights(layer):
    """The effective kernel and bias of the layer, from its outputs for zeros and unit vectors."""
    inputs = layer.kernel.shape[0]
    bias = layer(tf.zeros([1, inputs]), training=True).numpy()
    return layer(tf.eye(inputs), training=True).numpy() - bias, bias[0]


@pytest.mark.parametrize("kind", KINDS)
def test_without_training_it_is_a_dense_layer(kind):
    layer = noisy(kind, activation="tanh")
    dense = keras.layers.Dense(3, activation="tanh")
    dense.build((None, 4))
    dense.set_weights([layer.kernel, layer.bias])
    np.testing.assert_allclose(layer(X), dense(X), rtol=1e-6)
    np.testing.assert_array_equal(layer(X, training=False), layer(X))
    assert np.all(layer(X, training=True).numpy() != layer(X).numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_equation_of_the_paper(kind):
    layer = noisy(kind, activation="relu")
    noise_kernel, noise_bias = epsilons(layer)
    kernel = layer.kernel.numpy() + layer.sigma_kernel.numpy() * noise_kernel
    bias = layer.bias.numpy() + layer.sigma_bias.numpy() * noise_bias
    np.testing.assert_allclose(layer(X, training=True), np.maximum(X.numpy() @ kernel + bias, 0), rtol=1e-5, atol=1e-5)
    steps = tf.reshape(tf.stack([X, 2.0 * X]), [2, 7, 4])
    expected = np.maximum(steps.numpy() @ kernel + bias, 0)
    np.testing.assert_allclose(layer(steps, training=True), expected, rtol=1e-5, atol=1e-5)
    assert layer.compute_output_shape((2, 7, 4)) == (2, 7, 3)


@pytest.mark.parametrize(("kind", "rank"), [("factorized", 1), ("independent", 5)])
def test_rank_of_the_noise(kind, rank):
    layer = noisy(kind, units=5, inputs=6)
    kernel, bias = effective_weights(layer)
    noise = (kernel - layer.kernel.numpy()) / layer.sigma_kernel.numpy()
    assert np.linalg.matrix_rank(noise, tol=1e-3) == rank
    noise_bias = (bias - layer.bias.numpy()) / layer.sigma_bias.numpy()
    if kind == "factorized":  # every row of the kernel's noise is a multiple of the bias's
        assert np.linalg.matrix_rank(np.concatenate([noise, [noise_bias]]), tol=1e-3) == 1


def check_standard_normal(x):
    """Four moments and the share within one standard deviation; the bounds are more than 4 standard errors."""
    error = 4.5 / np.sqrt(x.size)
    np.testing.assert_allclose([x.mean(), (x**2).mean(), (x**3).mean()], [0, 1, 0], atol=error * np.sqrt(15))
    np.testing.assert_allclose((x**4).mean(), 3, atol=error * np.sqrt(96))
    np.testing.assert_allclose((np.abs(x) < 1).mean(), 0.682689, atol=error * 0.47)


def test_independent_noise_is_standard_normal():
    layer = noisy("independent", units=300, inputs=400)
    check_standard_normal(layer.noise_kernel.numpy())
    noise, bias = layer.noise_kernel.numpy(), layer.noise_bias.numpy()
    assert abs(np.corrcoef(noise[0], noise[1])[0, 1]) < 0.3
    assert abs(np.corrcoef(noise[0], bias)[0, 1]) < 0.3
    check_standard_normal(noisy("independent", units=50_000, inputs=1).noise_bias.numpy())


def test_factorized_noise_is_the_signed_root_of_standard_normal_numbers():
    """`f(x) = sign(x) sqrt(|x|)`, whose inverse is `x |x|`."""
    for shape in ({"units": 50_000, "inputs": 1}, {"units": 1, "inputs": 50_000}):
        layer = noisy("factorized", **shape)
        for noise in (layer.noise_in.numpy(), layer.noise_out.numpy()):
            if noise.size > 1:
                check_standard_normal(noise * np.abs(noise))
    layer = noisy("factorized", units=1_000, inputs=1_000)
    assert abs(np.corrcoef(layer.noise_in, layer.noise_out)[0, 1]) < 0.15


@pytest.mark.parametrize("kind", KINDS)
def test_noise_stays_until_it_is_drawn_again(kind):
    layer = NoisyDense(3, kind=kind)
    np.testing.assert_array_equal(layer(X, training=True), layer(X))
    layer.resample(SEED)
    first = layer(X, training=True).numpy()
    np.testing.assert_array_equal(layer(X, training=True), first)
    layer.resample(SEED + 1)
    assert np.all(layer(X, training=True).numpy() != first)
    layer.resample(SEED)
    np.testing.assert_array_equal(layer(X, training=True), first)


@pytest.mark.parametrize(
    ("kind", "limit", "sigma", "given"),
    [("factorized", 1 / 20, 0.5 / 20, 2.0 / 20), ("independent", np.sqrt(3 / 400), 0.017, 2.0)],
)
def test_initial_weights_are_those_of_section_3_2(kind, limit, sigma, given):
    layer = NoisyDense(300, kind=kind)
    layer.build((None, 400))
    for mu, samples in ((layer.kernel.numpy(), 120_000), (layer.bias.numpy(), 300)):
        # Uniform: the greatest of n is limit * (1 - 2 / (n + 1)) on average; the deviation is limit / sqrt(3).
        assert limit * (1 - 20 / samples) < mu.max() <= limit
        assert -limit <= mu.min() < -limit * (1 - 20 / samples)
        np.testing.assert_allclose([mu.mean(), mu.std()], [0, limit / np.sqrt(3)], atol=4 * limit / np.sqrt(samples))
    for weight in (layer.sigma_kernel, layer.sigma_bias):
        np.testing.assert_allclose(weight, np.full(weight.shape, sigma), rtol=1e-6)
    other = NoisyDense(300, kind=kind, sigma=2.0)
    other.build((None, 400))
    np.testing.assert_allclose(other.sigma_bias, np.full(300, given), rtol=1e-6)
    np.testing.assert_allclose(other.sigma_kernel, np.full((400, 300), given), rtol=1e-6)
    silent = NoisyDense(3, kind=kind, sigma=0.0)
    silent.build((None, 4))
    np.testing.assert_array_equal(silent.sigma_kernel, np.zeros((4, 3)))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_and_graphs(kind, jit_compile):
    """The derivative of the summed outputs: for mu that of Dense, for sigma that times the noise."""
    layer = noisy(kind)
    before = layer.noise_kernel.numpy() if kind == "independent" else layer.noise_in.numpy()

    @tf.function(jit_compile=jit_compile)
    def step(x, seed):
        layer.resample(seed)
        with tf.GradientTape() as tape:
            outputs = layer(x, training=True)
        return outputs, tape.gradient(outputs, [w.value for w in layer.trainable_variables])

    outputs, gradients = step(X, SEED + 2)
    noise_kernel, noise_bias = epsilons(layer)  # with XLA the same seed gives other numbers
    assert np.all((layer.noise_kernel if kind == "independent" else layer.noise_in).numpy() != before)
    kernel = layer.kernel + layer.sigma_kernel * noise_kernel
    np.testing.assert_allclose(outputs, X @ kernel + layer.bias + layer.sigma_bias * noise_bias, rtol=1e-5, atol=1e-5)
    expected = {"kernel": np.repeat(X.numpy().sum(0)[:, None], 3, axis=1), "bias": np.full(3, 7.0)}
    expected |= {"sigma_kernel": expected["kernel"] * noise_kernel, "sigma_bias": expected["bias"] * noise_bias}
    assert sorted(w.name for w in layer.trainable_variables) == sorted(expected)
    for weight, gradient in zip(layer.trainable_variables, gradients, strict=True):
        np.testing.assert_allclose(gradient, expected[weight.name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_can_be_saved(tmp_path, kind):
    inputs = keras.Input((4,))
    layer = NoisyDense(3, activation="tanh", kind=kind, sigma=0.7, name="noisy")
    model = keras.Model(inputs, layer(inputs))
    layer.resample(SEED)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.output_shape == (None, 3)
    for training in (False, True):  # the noise is saved, too
        np.testing.assert_array_equal(loaded(X, training=training), model(X, training=training))
    assert loaded.get_layer("noisy").get_config() == layer.get_config()
    expected = {"units": 3, "activation": "tanh", "kind": kind, "sigma": 0.7}
    assert {key: layer.get_config()[key] for key in expected} == expected


@pytest.mark.parametrize("kind", KINDS)
def test_mixed_precision(kind):
    layer = NoisyDense(3, kind=kind, dtype="mixed_float16")
    layer(X)
    layer.resample(SEED)
    kernel, bias = (layer.kernel.numpy(), layer.bias.numpy())
    noise_kernel, noise_bias = epsilons(layer)
    outputs = layer(X, training=True)
    expected = X.numpy() @ (kernel + noise_kernel * layer.sigma_kernel) + bias + noise_bias * layer.sigma_bias
    assert outputs.dtype == tf.float16
    np.testing.assert_allclose(outputs, expected, atol=0.02)


def test_unknown_kind():
    with pytest.raises(
        ValueError, match=r"`kind` must be one of \['factorized', 'independent'\]\. Received: kind='pink'"
    ):
        NoisyDense(3, kind="pink")


def test_the_british_spelling_of_earlier_files_is_taken():
    assert krp.layers.NoisyDense(2, kind="factorised").get_config()["kind"] == "factorized"
    assert krp.DQN(noisy="factorised").noisy == "factorized"
