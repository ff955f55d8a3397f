"""`Joint` against sums written out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from keras_rl_prob.distributions import BoundedNormal, Joint

tfd = tfp.distributions

SEED = tf.constant([3, 5])


def hybrid(batch, seed=0, copies=()):
    """One distribution of each kind, perhaps many copies of them, and their parameters as float64 arrays."""
    rng = np.random.default_rng(seed)
    params = {
        "loc": rng.normal(size=(*batch, 2)),
        "scale": rng.uniform(0.2, 2, size=(*batch, 2)),
        "bounded_loc": rng.normal(size=(*batch, 3)),
        "logits": rng.normal(size=(*batch, 4)),
        "binary": rng.normal(size=(*batch, 5)),
    }
    f = {key: tf.constant(np.broadcast_to(x, (*copies, *x.shape)), tf.float32) for key, x in params.items()}
    move = BoundedNormal(f["bounded_loc"], 0.5, -1.0, 3.0, event_ndims=1)
    tool = tfd.Categorical(logits=f["logits"], dtype=tf.int32)
    keys = tfd.Independent(tfd.Bernoulli(logits=f["binary"], dtype=tf.int32), 1)
    return {"arm": tfd.Independent(tfd.Normal(f["loc"], f["scale"]), 1), "rest": (move, [tool, keys])}, params


def normal_log_density(x, loc, scale):
    return -0.5 * ((x - loc) / scale) ** 2 - np.log(scale) - 0.5 * math.log(2 * math.pi)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)], ids=str)
def test_log_prob_is_the_sum_over_leaves(batch):
    distributions, params = hybrid(batch)
    raw = Joint(distributions).sample(SEED)
    arm, (move, [tool, keys]) = raw["arm"].numpy(), raw["rest"]
    move, tool, keys = move.numpy().astype("float64"), tool.numpy(), keys.numpy()
    probabilities = np.exp(params["logits"]) / np.exp(params["logits"]).sum(-1, keepdims=True)
    on = 1 / (1 + np.exp(-params["binary"]))
    expected = (
        normal_log_density(arm, params["loc"], params["scale"]).sum(-1)
        + (normal_log_density(move, params["bounded_loc"], 0.5) - np.log(2 / np.cosh(move) ** 2)).sum(-1)
        + np.log(np.take_along_axis(probabilities, tool[..., np.newaxis], -1)[..., 0])
        + np.log(np.where(keys == 1, on, 1 - on)).sum(-1)
    )
    log_prob = Joint(distributions).log_prob(raw)
    assert log_prob.shape == Joint(distributions).batch_shape == batch
    np.testing.assert_allclose(log_prob, expected, rtol=1e-4)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)], ids=str)
def test_entropy_is_the_sum_over_leaves(batch):
    distributions, params = hybrid(batch)
    probabilities = np.exp(params["logits"]) / np.exp(params["logits"]).sum(-1, keepdims=True)
    on = 1 / (1 + np.exp(-params["binary"]))
    expected = (
        np.log(params["scale"] * math.sqrt(2 * math.pi * math.e)).sum(-1)
        + distributions["rest"][0].entropy().numpy()  # has its own tests
        - (probabilities * np.log(probabilities)).sum(-1)
        - (on * np.log(on) + (1 - on) * np.log(1 - on)).sum(-1)
    )
    entropy = Joint(distributions).entropy()
    assert entropy.shape == batch
    np.testing.assert_allclose(entropy, expected, rtol=1e-5)


def test_kl_divergence_is_the_expected_log_ratio():
    a, b = (Joint(hybrid((2,), seed, copies=(20_000,))[0]) for seed in (0, 1))
    raw = a.sample(SEED)
    log_ratios = (a.log_prob(raw) - b.log_prob(raw)).numpy()
    kl, reverse = a.kl_divergence(b)[0].numpy(), b.kl_divergence(a)[0].numpy()
    np.testing.assert_allclose(log_ratios.mean(0), kl, atol=4 * log_ratios.std(0).max() / math.sqrt(20_000))
    assert np.all(np.abs(kl - reverse) > 0.5)  # so the order of the arguments matters above
    np.testing.assert_allclose(a.kl_divergence(a), np.zeros([20_000, 2]), atol=1e-6)


def test_every_leaf_has_its_own_randomness():
    twins = Joint((tfd.Normal(tf.zeros([4]), 1.0), tfd.Normal(tf.zeros([4]), 1.0)))
    first, second = twins.sample(SEED)
    assert np.min(np.abs(first - second)) > 0
    np.testing.assert_array_equal(twins.sample(SEED)[1], second)
    assert np.min(np.abs(twins.sample(tf.constant([3, 6]))[1] - second)) > 0


def test_samples_keep_the_structure_and_dtypes():
    distributions, _ = hybrid((3,))
    raw = Joint(distributions).sample(SEED)
    assert isinstance(raw["rest"], tuple)
    assert isinstance(raw["rest"][1], list)
    tool, keys = raw["rest"][1]
    assert (tool.dtype, tool.shape, keys.dtype, keys.shape) == (tf.int32, [3], tf.int32, [3, 5])


def test_raw_values_are_squashed_only_for_the_environment():
    move, tool = BoundedNormal([[30.0]], 1.0, 0.0, 4.0, event_ndims=1), tfd.Categorical(tf.zeros([1, 3]))
    joint = Joint((move, tool))
    raw = joint.sample(SEED)
    action = joint.action(raw)
    assert raw[0][0, 0] > 20
    assert action[0][0, 0] == 4.0
    assert action[1] is raw[1]
    # From the definition at x, far beyond where float32 tanh is 1: log N(x; 30, 1) - log 2 + 2 (x - log 2).
    x = float(raw[0][0, 0])
    expected = normal_log_density(x, 30, 1) - math.log(2) + 2 * (x - math.log(2)) + math.log(1 / 3)
    np.testing.assert_allclose(joint.log_prob(raw), [expected], rtol=1e-5)


def test_mode_is_raw_too():
    joint = Joint(
        {"move": BoundedNormal([30.0], 1.0, 0.0, 4.0, event_ndims=1), "tool": tfd.Categorical([0.0, 2.0, 1.0])}
    )
    mode = joint.mode()
    np.testing.assert_allclose(mode["move"], [30.0])
    assert mode["tool"] == 1
    np.testing.assert_allclose(joint.action(mode)["move"], [4.0])


def test_a_single_distribution_is_a_joint():
    categorical = tfd.Categorical(logits=[[0.0, 1.0]], dtype=tf.int32)
    joint = Joint(categorical)
    np.testing.assert_array_equal(joint.sample(SEED), categorical.sample(seed=SEED))
    np.testing.assert_allclose(joint.entropy(), categorical.entropy())


def test_compiled_results_equal_eager_ones():
    # Given samples: XLA converts the same random bits to other floats.
    raw = Joint(hybrid((3,))[0]).sample(SEED)

    def results(raw):
        joint, other = Joint(hybrid((3,))[0]), Joint(hybrid((3,), seed=1)[0])
        action = joint.action(raw)["rest"][0]
        return action, joint.log_prob(raw), joint.log_prob(joint.mode()), joint.entropy(), joint.kl_divergence(other)

    for compiled, eager in zip(tf.function(results, jit_compile=True)(raw), results(raw), strict=True):
        np.testing.assert_allclose(compiled, eager, rtol=1e-5, atol=1e-5)


def test_compiled_samples_change_with_the_seed_alone():
    draw = tf.function(lambda seed: Joint(hybrid((3,))[0]).sample(seed), jit_compile=True)
    for first, again, other in zip(*(tf.nest.flatten(draw(seed)) for seed in (SEED, SEED, SEED + 1)), strict=True):
        np.testing.assert_array_equal(first, again)
        assert first.dtype == tf.int32 or np.all(first != other)


@pytest.mark.parametrize(("first", "second"), [((), (3,)), ((3,), ()), ((3,), (2, 3)), ((1,), (3,))], ids=str)
def test_unequal_batch_shapes_are_rejected_with_both_places(first, second):
    nest = {"a": tfd.Normal(tf.zeros(first), 1.0), "b": tfd.Normal(tf.zeros(second), 1.0)}
    with pytest.raises(ValueError, match=r"equal batch shapes.*at .*a.* and .*at .*b"):
        Joint(nest)


def test_leaves_must_be_distributions():
    with pytest.raises(TypeError, match=r"must be a `tfd.Distribution`. Received: 1.0 at"):
        Joint((tfd.Normal(0.0, 1.0), 1.0))
    with pytest.raises(ValueError, match=r"at least one leaf. Received: distributions=\(\)"):
        Joint(())
