"""`BoundedNormal` against numerical integration of its definition and against a composition of TFP bijectors."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from keras_rl_prob.distributions import BoundedNormal

tfd, tfb = tfp.distributions, tfp.bijectors

SEED = tf.constant([3, 5])
CASES = {  # loc, scale, low, high
    "centred": (0.0, 1.0, -1.0, 1.0),
    "bimodal": (0.5, 2.0, -3.0, 5.0),
    "leaning": (2.0, 0.3, 0.0, 1.0),
    "narrow": (-0.7, 0.1, 10.0, 12.0),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def log_density(x, loc, scale, low, high):
    """Log p(y) at y = mid + half tanh(x), in float64: log N(x) - log(half / cosh(x)^2)."""
    normal = -0.5 * ((x - loc) / scale) ** 2 - np.log(scale) - 0.5 * math.log(2 * math.pi)
    return normal - np.log(0.5 * (high - low)) + 2 * np.log(np.cosh(x))


def integrate(function, loc, scale):
    """E[function(x)] for x ~ N(loc, scale), in float64 on a grid of 400,001 points."""
    z = np.linspace(-10, 10, 400_001)
    density = np.exp(-0.5 * z**2)
    return np.sum(density * function(loc + scale * z)) / np.sum(density)


def squash(x, low, high):
    return 0.5 * (low + high) + 0.5 * (high - low) * np.tanh(x)


@cases
def test_log_prob_raw_is_the_definition(case):
    x = np.linspace(-12, 12, 49)
    distribution = BoundedNormal(*(tf.constant(value, tf.float64) for value in case))
    np.testing.assert_allclose(distribution.log_prob_raw(x), log_density(x, *case), rtol=1e-10)
    np.testing.assert_allclose(BoundedNormal(*case).log_prob_raw(x), log_density(x, *case), rtol=2e-4, atol=1e-4)


def test_log_prob_raw_is_exact_where_tanh_is_one():
    # x = 30: log N = -450 - log(2 pi) / 2, and log cosh(30)^2 = 60 - 2 log 2 to double precision.
    expected = -450 - 0.5 * math.log(2 * math.pi) + 60 - 2 * math.log(2)
    np.testing.assert_allclose(BoundedNormal(0.0, 1.0, -1.0, 1.0).log_prob_raw(30.0), expected, rtol=1e-6)
    np.testing.assert_allclose(BoundedNormal(0.0, 1.0, -1.0, 1.0).log_prob_raw(-30.0), expected, rtol=1e-6)


@cases
def test_density_integrates_to_one(case):
    x = np.linspace(-8, 8, 200_001)
    y = squash(x, *case[2:])
    distribution = BoundedNormal(*(tf.constant(value, tf.float64) for value in case))
    mass = np.trapezoid(np.exp(distribution.log_prob(y)), y)
    assert mass == pytest.approx(1.0, abs=1e-3)


@cases
def test_log_prob_agrees_with_transformed_distribution(case):
    loc, scale, low, high = case
    bijector = tfb.Chain([tfb.Shift(0.5 * (low + high)), tfb.Scale(0.5 * (high - low)), tfb.Tanh()])
    y = squash(np.linspace(-2, 2, 21), low, high).astype("float32")
    expected = tfd.TransformedDistribution(tfd.Normal(loc, scale), bijector).log_prob(y)
    np.testing.assert_allclose(BoundedNormal(*case).log_prob(y), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("dtype", "bits"), [(tf.float16, 11), (tf.float32, 24), (tf.float64, 53)])
def test_log_prob_at_the_bounds_is_that_of_the_largest_float_below_one(dtype, bits):
    case = (0.25, 0.5, -1.0, 3.0)
    distribution = BoundedNormal(*(tf.constant(value, dtype) for value in case))
    x = np.arctanh(1 - 2.0**-bits)
    for y, raw in ((3.0, x), (-1.0, -x)):
        np.testing.assert_allclose(distribution.log_prob(tf.constant(y, dtype)), log_density(raw, *case), rtol=1e-2)


@cases
def test_moments_and_entropy_agree_with_integration(case):
    loc, scale, low, high = case
    distribution = BoundedNormal(*case)
    mean = integrate(lambda x: squash(x, low, high), loc, scale)
    variance = integrate(lambda x: (squash(x, low, high) - mean) ** 2, loc, scale)
    entropy = integrate(lambda x: -log_density(x, *case), loc, scale)
    np.testing.assert_allclose(distribution.mean(), mean, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(distribution.variance(), variance, rtol=1e-4)
    np.testing.assert_allclose(distribution.stddev(), math.sqrt(variance), rtol=1e-4)
    np.testing.assert_allclose(distribution.entropy(), entropy, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("scale", "tolerance"), [(1.0, 1e-6), (2.0, 4e-6), (3.0, 4e-4), (5.0, 8e-3), (10.0, 8e-2)])
def test_quadrature_is_as_accurate_as_documented(scale, tolerance):
    for loc in (0.0, 0.3, 1.0, 3.0, -7.0):
        case = (loc, scale, -1.0, 1.0)
        distribution = BoundedNormal(*(tf.constant(value, tf.float64) for value in case))
        entropy = integrate(lambda x: -log_density(x, *case), loc, scale)  # noqa: B023
        np.testing.assert_allclose(distribution.entropy(), entropy, atol=tolerance)
        np.testing.assert_allclose(distribution.mean(), integrate(np.tanh, loc, scale), atol=tolerance)


def test_mode_is_the_squashed_loc_and_not_the_mean():
    distribution = BoundedNormal([0.5, -1.0], 1.0, 0.0, 4.0)
    np.testing.assert_allclose(distribution.mode_raw(), [0.5, -1.0])
    np.testing.assert_allclose(distribution.mode(), 2 + 2 * np.tanh([0.5, -1.0]), rtol=1e-6)
    assert np.min(np.abs(distribution.mode() - distribution.mean())) > 0.1


@cases
def test_sampled_moments(case):
    distribution = BoundedNormal(*case)
    samples = distribution.squash(distribution.sample_raw(100_000, seed=SEED)).numpy()
    tolerance = 4 * distribution.stddev().numpy() / math.sqrt(100_000)
    np.testing.assert_allclose(samples.mean(), distribution.mean(), atol=tolerance)
    np.testing.assert_allclose(samples.std(), distribution.stddev(), rtol=0.02)
    np.testing.assert_array_equal(samples, distribution.sample(100_000, seed=SEED))


def test_values_never_leave_the_bounds():
    rng = np.random.default_rng(0)
    low = rng.normal(size=500).astype("float32")
    high = low + rng.uniform(0.01, 3, size=500).astype("float32")
    loc = tf.constant(rng.choice([-100.0, -9.0, 9.0, 100.0], size=500), tf.float32)
    y = BoundedNormal(loc, 1.0, low, high).sample(seed=SEED).numpy()
    assert np.all((low <= y) & (y <= high))
    assert np.any(y == high)
    assert np.any(y == low)


def test_sample_and_log_prob_are_of_the_same_value():
    distribution = BoundedNormal([0.0, 30.0], [1.0, 2.0], -1.0, 2.0, event_ndims=1)
    y, log_prob = distribution.experimental_sample_and_log_prob(seed=SEED)
    raw = distribution.sample_raw(seed=SEED).numpy().astype("float64")
    np.testing.assert_allclose(y, distribution.squash(raw.astype("float32")))
    np.testing.assert_allclose(
        log_prob, log_density(raw, np.array([0.0, 30.0]), np.array([1.0, 2.0]), -1, 2).sum(), rtol=1e-5
    )


def test_event_ndims_sum_over_components():
    loc, low, high = tf.random.stateless_normal([4, 3, 2], SEED), [[-1.0, 0.0]], [[1.0, 3.0]]
    parts = BoundedNormal(loc, 0.5, low, high)
    whole = BoundedNormal(loc, 0.5, low, high, event_ndims=2)
    raw = parts.sample_raw(seed=SEED)
    assert whole.batch_shape == [4]
    assert whole.event_shape == [3, 2]
    np.testing.assert_array_equal(whole.sample_raw(seed=SEED), raw)
    for of_whole, of_parts in (
        (whole.log_prob_raw(raw), parts.log_prob_raw(raw)),
        (whole.log_prob(whole.squash(raw)), parts.log_prob_raw(raw)),
        (whole.entropy(), parts.entropy()),
        (whole.kl_divergence(whole.copy(scale=1.0)), parts.kl_divergence(parts.copy(scale=1.0))),
    ):
        assert of_whole.shape == [4]
        np.testing.assert_allclose(of_whole, np.sum(of_parts, axis=(1, 2)), rtol=1e-4)
    assert whole.mean().shape == [4, 3, 2]
    assert whole[1:3].batch_shape == [2]


def test_bounds_alone_may_have_the_batch_shape():
    distribution = BoundedNormal(0.0, 1.0, tf.zeros([5]), tf.range(1.0, 6.0))
    assert distribution.batch_shape == [5]
    assert len(set(distribution.sample_raw(seed=SEED).numpy())) == 5
    np.testing.assert_allclose(distribution.mean(), np.arange(1, 6) / 2, rtol=1e-6)


def test_kl_divergence_is_that_of_the_normals():
    # KL(N(m, s) || N(n, t)) = log(t / s) + (s^2 + (m - n)^2) / (2 t^2) - 1/2
    a, b = BoundedNormal(0.5, 0.4, -1.0, 3.0), BoundedNormal(-0.2, 0.9, -1.0, 3.0)
    expected = math.log(0.9 / 0.4) + (0.4**2 + 0.7**2) / (2 * 0.9**2) - 0.5
    np.testing.assert_allclose(tfd.kl_divergence(a, b), expected, rtol=1e-5)
    raw = a.sample_raw(200_000, seed=SEED)
    log_ratios = (a.log_prob_raw(raw) - b.log_prob_raw(raw)).numpy()
    np.testing.assert_allclose(np.mean(log_ratios), expected, atol=4 * np.std(log_ratios) / math.sqrt(200_000))


def test_masked_components_are_absent():
    loc, scale, mask = (
        tf.constant([[0.5, 1.0], [2.0, 3.0]]),
        tf.constant([[1.0, 2.0], [0.5, 1.5]]),
        [[True, False], [False, False]],
    )
    raw = tf.constant([[0.3, 7.0], [-5.0, 6.0]])
    with tf.GradientTape() as tape:
        tape.watch([loc, scale])
        masked = BoundedNormal(loc, scale, -1.0, 1.0, event_ndims=1, mask=mask)
        results = [
            masked.log_prob_raw(raw),
            masked.log_prob(tf.tanh(raw)),
            masked.entropy(),
            masked.kl_divergence(BoundedNormal(0.0, scale, -1.0, 1.0, event_ndims=1, mask=mask)),
        ]
    present = BoundedNormal(0.5, 1.0, -1.0, 1.0)
    expected = [present.log_prob_raw(0.3), present.log_prob_raw(0.3), present.entropy(), 0.5**2 / 2]
    for result, value in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, [value, 0.0], rtol=1e-5)
    for gradient in tape.gradient(results, [loc, scale]):
        assert gradient[0, 0] != 0
        np.testing.assert_array_equal([gradient[0, 1], *gradient[1]], [0.0, 0.0, 0.0])
    sample = masked.sample_raw(seed=SEED).numpy()
    np.testing.assert_array_equal([sample[0, 1], *sample[1]], [1.0, 2.0, 3.0])
    assert sample[0, 0] != 0.5
    np.testing.assert_allclose(masked.mean()[1], np.tanh([2.0, 3.0]), rtol=1e-6)
    np.testing.assert_allclose(masked.stddev()[1], [0.0, 0.0], atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradients_are_finite_at_difficult_points(jit_compile):
    @tf.function(jit_compile=jit_compile)
    def gradients(loc, scale):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([loc, scale])
            distribution = BoundedNormal(loc, scale, -1.0, 2.0)
            other = BoundedNormal(0.0, 1.0, -1.0, 2.0)
            results = [
                distribution.log_prob_raw(distribution.sample_raw(seed=SEED)),
                distribution.log_prob_raw(tf.zeros_like(loc)),
                distribution.log_prob(tf.constant([-1.0, 2.0] * 7)),
                distribution.sample(seed=SEED),
                distribution.entropy(),
                distribution.mean(),
                distribution.stddev(),
                distribution.kl_divergence(other),
                other.kl_divergence(distribution),
            ]
        return results, [tape.gradient(result, [loc, scale]) for result in results]

    loc = tf.constant([-100.0, -30.0, -9.1, 0.0, 9.1, 30.0, 100.0] * 2)
    scale = tf.repeat([1.0, 0.01], 7)
    results, derivatives = gradients(loc, scale)
    for result, pair in zip(results, derivatives, strict=True):
        assert np.isfinite(result).all()
        assert np.isfinite(pair[0]).all()
        assert np.isfinite(pair[1]).all()


def test_entropy_gradient_is_that_of_the_integral():
    loc, scale, step = 0.4, 0.8, 1e-4
    with tf.GradientTape() as tape:
        variables = [tf.constant(loc), tf.constant(scale)]
        tape.watch(variables)
        entropy = BoundedNormal(*variables, -1.0, 1.0).entropy()

    def oracle(m, s):
        return integrate(lambda x: -log_density(x, m, s, -1.0, 1.0), m, s)

    expected = [
        (oracle(loc + step, scale) - oracle(loc - step, scale)) / (2 * step),
        (oracle(loc, scale + step) - oracle(loc, scale - step)) / (2 * step),
    ]
    np.testing.assert_allclose(tape.gradient(entropy, variables), expected, rtol=1e-4)


def test_compiled_results_equal_eager_ones():
    def results(loc, raw):
        distribution = BoundedNormal(loc, 0.7, [-1.0, 0.0], [1.0, 4.0], event_ndims=1)
        return (
            distribution.squash(raw),
            distribution.log_prob_raw(raw),
            distribution.log_prob(distribution.high),
            distribution.entropy(),
            distribution.mean(),
            distribution.stddev(),
        )

    inputs = tf.random.stateless_normal([2, 5, 2], SEED)
    for compiled, eager in zip(tf.function(results, jit_compile=True)(*inputs), results(*inputs), strict=True):
        np.testing.assert_allclose(compiled, eager, rtol=1e-5, atol=1e-5)


def test_compiled_samples_have_the_distribution():
    distribution = BoundedNormal(0.5, 2.0, -1.0, 3.0)
    draw = tf.function(lambda seed: distribution.sample_raw(100_000, seed=seed), jit_compile=True)
    raw = draw(SEED).numpy()  # not those of eager mode: XLA converts the same random bits to other floats
    np.testing.assert_allclose([raw.mean(), raw.std()], [0.5, 2.0], atol=4 * 2.0 / math.sqrt(100_000))
    np.testing.assert_array_equal(raw, draw(SEED))
    assert np.all(raw != draw(SEED + 1))


def test_may_leave_a_function():
    make = tf.function(lambda loc: BoundedNormal(loc, 1.0, -1.0, 1.0, event_ndims=1))
    np.testing.assert_allclose(make(tf.zeros([2, 3])).mode(), np.zeros([2, 3]))


def test_errors_name_the_bounds():
    with pytest.raises(ValueError, match=r"`high` must be above `low`. Received: low=1.0, high=-1.0"):
        BoundedNormal(0.0, 1.0, 1.0, -1.0)
    with pytest.raises(ValueError, match=r"needs equal bounds. Received: 1.0 and 2.0"):
        tfd.kl_divergence(BoundedNormal(0.0, 1.0, 0.0, 1.0), BoundedNormal(0.0, 1.0, 0.0, 2.0))
