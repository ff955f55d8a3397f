"""ACER's gradient and trust region against finite differences, exact means, the definition and hand-computed numbers."""

import numpy as np
import oracles
import pytest
import tensorflow as tf

from keras_rl_prob import ops

MODES = {"eager": lambda f: f, "graph": tf.function, "jit": tf.function(jit_compile=True)}


def policies(seed=0, actions=4, clip_rho=1.5):
    """Random policies of 6 x 5 rows, actions and outcomes; some ratios are truncated, some are not."""
    rng = np.random.default_rng(seed)
    probabilities, behaviour = rng.dirichlet(np.ones(actions), size=(2, 6, 5)) * 0.9 + 0.1 / actions
    data = {
        "probabilities": probabilities,
        "behaviour_probabilities": behaviour,
        "actions": rng.integers(actions, size=(6, 5)),
        "targets": rng.normal(size=(6, 5)),
        "q_values": rng.normal(size=(6, 5, actions)),
    }
    ratios = ops.chosen(probabilities / behaviour, data["actions"]).numpy()
    assert (ratios < 1).any()
    assert ((ratios > 1) & (ratios < clip_rho)).any()
    assert (ratios > clip_rho).any()
    return data


@pytest.mark.parametrize("mode", MODES)
def test_gradient_is_that_of_the_papers_objective(mode):
    data, step = policies(), 1e-6
    at, expected = data["probabilities"], np.zeros((6, 5, 4))
    rest = at, data["behaviour_probabilities"], data["actions"], data["targets"], data["q_values"], 1.5
    for b, unit in enumerate(step * np.eye(4)):
        above, below = (oracles.acer_objective(at + move, *rest) for move in (unit, -unit))
        expected[..., b] = (above - below) / (2 * step)
    result = MODES[mode](lambda *xs: ops.acer_policy_gradient(*xs, clip_rho=1.5))(*data.values())
    assert result.dtype == tf.float64
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-7)


def test_gradient_by_hand():
    """`V = 0.3 + 0.25 - 0.3 = 0.25`, a ratio of 20: `10 / 0.2 * (2 - V) = 87.5`, `(1 - 10 / 20) (1.5 - V) = 0.625`."""
    f, mu, q = tf.constant([0.2, 0.5, 0.3]), tf.constant([0.01, 0.6, 0.39]), tf.constant([1.5, 0.5, -1.0])
    gradient = ops.acer_policy_gradient(f, mu, 0, 2.0, q)
    np.testing.assert_allclose(gradient, [87.5 + 0.625, 0, 0], rtol=1e-5)
    elsewhere = ops.acer_policy_gradient(f, mu, 1, 2.0, q)  # the correction is over all actions, whichever was taken
    np.testing.assert_allclose(elsewhere, [0.625, (2 - 0.25) / 0.6, 0], rtol=1e-5)


@pytest.mark.parametrize("clip_rho", [0.0, 0.5, 1.5, 1e6])
def test_mean_over_the_behaviour_is_the_policy_gradient_wherever_it_is_truncated(clip_rho):
    """With the true value as target: `sum_a mu(a) gradient = Q - V`, the gradient of `sum_b f(b) (Q(b) - V)`."""
    data = policies()
    mean = np.zeros((6, 5, 4))
    for a in range(4):
        data["actions"] = np.full((6, 5), a)
        data["targets"] = data["q_values"][..., a]
        gradient = ops.acer_policy_gradient(**data, clip_rho=clip_rho).numpy()
        mean += data["behaviour_probabilities"][..., a : a + 1] * gradient
    values = (data["probabilities"] * data["q_values"]).sum(-1, keepdims=True)
    np.testing.assert_allclose(mean, data["q_values"] - values, atol=1e-10)


@pytest.mark.parametrize("clip_rho", [0.5, 10.0])
def test_an_action_that_was_certain_gives_the_policy_gradient_whichever_it_was(clip_rho):
    """`mu(a) = 1`, and the true value as target: `Q - V` from a single action, the correction has the others."""
    data = policies()
    values = (data["probabilities"] * data["q_values"]).sum(-1, keepdims=True)
    for a in range(4):
        data["actions"], data["targets"] = np.full((6, 5), a), data["q_values"][..., a]
        data["behaviour_probabilities"] = np.broadcast_to(np.eye(4)[a], (6, 5, 4))
        gradient = ops.acer_policy_gradient(**data, clip_rho=clip_rho)
        np.testing.assert_allclose(gradient, data["q_values"] - values, atol=1e-10)


def test_on_policy_there_is_no_correction():
    data = policies()
    data["behaviour_probabilities"] = data["probabilities"]
    advantages = data["targets"] - (data["probabilities"] * data["q_values"]).sum(-1)
    expected = np.eye(4)[data["actions"]] * (advantages[..., None] / data["probabilities"])
    np.testing.assert_allclose(ops.acer_policy_gradient(**data, clip_rho=1.0), expected, atol=1e-12)


@pytest.mark.parametrize("mode", ["eager", "jit"])
def test_forbidden_actions_are_as_if_they_were_not_there(mode):
    few, many = policies(actions=3), policies(actions=5)
    allowed = np.array([True, False, True, True, False])
    for name in ("probabilities", "behaviour_probabilities", "q_values"):
        many[name][..., allowed], many[name][..., ~allowed] = few[name], np.nan
    many["actions"], many["targets"] = np.flatnonzero(allowed)[few["actions"]], few["targets"]
    mask = np.broadcast_to(allowed, (6, 5, 5))
    function = MODES[mode](lambda *xs, mask: ops.acer_policy_gradient(*xs, clip_rho=1.5, mask=mask))
    gradient = function(*many.values(), mask=mask).numpy()
    np.testing.assert_allclose(gradient[..., allowed], ops.acer_policy_gradient(**few, clip_rho=1.5), atol=1e-12)
    assert (gradient[..., ~allowed] == 0).all()
    np.testing.assert_array_equal(function(*many.values(), mask=mask.astype(np.float32)), gradient)
    nothing = function(*many.values(), mask=np.zeros((6, 5, 5), bool))
    np.testing.assert_array_equal(nothing, np.zeros((6, 5, 5)))


def test_probabilities_of_zero_are_no_trouble():
    f, mu, q = tf.constant([0.0, 1.0, 0.0]), tf.constant([0.0, 0.5, 0.5]), tf.constant([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(ops.acer_policy_gradient(f, mu, 0, 9.0, q, clip_rho=1.0), [0, 0, 0])
    f = tf.constant([0.5, 0.5, 0.0])  # actions that `mu` never takes are in the correction only: 1 * (1 - 1.5)
    np.testing.assert_array_equal(ops.acer_policy_gradient(f, mu, 1, 1.5, q, clip_rho=1.0), [-0.5, 0, 0])


# The trust region


def gradients(seed=0, delta=0.5):
    rng = np.random.default_rng(seed)
    g, k = rng.normal(size=(2, 40, 3)) * [[[3.0]], [[1.0]]]
    bound = (g * k).sum(-1) > delta
    assert 5 < bound.sum() < 35
    return g, k, bound


@pytest.mark.parametrize("mode", MODES)
def test_trust_region_projects_on_the_half_space(mode):
    """`z` is the point of a convex set nearest to `g` if and only if `(g - z) . (y - z) <= 0` for all its points `y`."""
    g, k, bound = gradients()
    z = MODES[mode](lambda *xs: ops.trust_region(*xs, delta=0.5))(g, k).numpy()
    assert z.dtype == np.float64
    np.testing.assert_allclose((z * k).sum(-1)[bound], 0.5)
    np.testing.assert_array_equal(z[~bound], g[~bound])
    y = z + np.random.default_rng(1).normal(size=(500, 1, 3)) * np.logspace(-3, 1, 500)[:, None, None]
    inside = (y * k).sum(-1) <= 0.5
    assert 0.3 < inside.mean() < 0.9
    assert (((g - z) * (y - z)).sum(-1)[inside] <= 1e-9).all()


def test_trust_region_bounds_the_growth_of_the_divergence():
    """Finite differences of `KL(average || f)` along what is left of a gradient that pulls `f` away from the average."""
    f, average = np.array([0.2, 0.5, 0.3]), np.array([0.1, 0.6, 0.3])

    def growth(z, step=1e-6):
        ahead, behind = (-(average * np.log(f + move)).sum() for move in (step * z, -step * z))
        return (ahead - behind) / (2 * step)

    away = np.array([9.0, -2.0, -7.0])
    assert growth(away) > 1
    z = ops.trust_region(away, -average / f, delta=1.0).numpy()
    assert growth(z) == pytest.approx(1)
    back = -away
    assert growth(back) < 0
    np.testing.assert_array_equal(ops.trust_region(back, -average / f, delta=1.0), back)


def test_trust_region_by_hand():
    """`k = -[0.1, 0.6, 0.3] / [0.2, 0.5, 0.3] = [-0.5, -1.2, -1]`, `||k||^2 = 2.69`, delta 1.

    `k . g = 4.5 + 2.4 - 1 = 5.9`, scale `4.9 / 2.69 = 1.821561`; of the other -1.5 + 2.4 - 1 < 1.
    """
    k, g = np.array([-0.5, -1.2, -1.0]), np.array([[-9.0, -2, 1], [3, -2, 1]])
    z = ops.trust_region(g, np.stack([k, k]), delta=1.0)
    np.testing.assert_allclose(z, [[-8.08922, 0.185874, 2.82156], [3, -2, 1]], rtol=1e-5)


def test_trust_region_knows_allowed_actions_only():
    g, k, _ = gradients()
    allowed = np.array([False, True, True, False, True])
    wide_g, wide_k = np.full((2, 40, 5), np.nan)
    wide_g[:, allowed], wide_k[:, allowed] = g, k
    z = ops.trust_region(wide_g, wide_k, delta=0.5, mask=np.broadcast_to(allowed, (40, 5))).numpy()
    np.testing.assert_allclose(z[:, allowed], ops.trust_region(g, k, delta=0.5), atol=1e-12)
    assert (z[:, ~allowed] == 0).all()


def test_trust_region_of_no_divergence_changes_nothing():
    g = tf.constant([1.0, -2.0])
    np.testing.assert_array_equal(ops.trust_region(g, tf.zeros(2), delta=0.0), g)
    np.testing.assert_array_equal(ops.trust_region(g, g, delta=np.inf), g)
