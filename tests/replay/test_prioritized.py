"""`Prioritized`: the samples, their frequencies, and the importance sampling weights."""

import numpy as np
import pytest
import tensorflow as tf

from keras_rl_prob.replay import Prioritized

SEED = tf.constant([3, 5])
ERRORS = np.array([0.1, -2.0, 0.0, 3.0, -0.7, 1.0])


def probabilities(errors, alpha, epsilon):
    """`P(i)` of the paper, equation (1), with proportional priorities."""
    powers = [(abs(error) + epsilon) ** alpha for error in errors]
    return np.array([power / sum(powers) for power in powers])


def updated(errors, alpha=0.6, epsilon=0.01):
    items = Prioritized(len(errors), alpha, epsilon)
    items.update(tf.range(len(errors)), tf.constant(errors, tf.float32))
    items.tree.check_valid()
    return items


def chi_square(counts, expected):
    return ((counts - expected) ** 2 / expected).sum()


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_frequencies_of_single_draws(alpha):
    """One item a draw, so that draws are independent; 20.5 is the 99.9 % quantile of chi-square with 5 degrees."""
    items, trials = updated(ERRORS, alpha, 0.05), 5_000

    @tf.function
    def draw():
        seeds = tf.stack([tf.range(trials), tf.fill([trials], 7)], 1)
        return tf.map_fn(lambda seed: items.draw(1, seed)[0], seeds)

    counts = np.bincount(draw(), minlength=6)
    assert chi_square(counts, trials * probabilities(ERRORS, alpha, 0.05)) < 20.5


def test_the_first_of_several_draws_is_no_different():
    """Samples are shuffled, so that their order must not depend on the strata."""
    items, trials = updated(ERRORS, 0.6, 0.05), 5_000
    seeds = tf.stack([tf.fill([trials], 11), tf.range(trials)], 1)
    draws = tf.function(lambda: tf.map_fn(lambda seed: items.draw(4, seed), seeds))().numpy()
    for position in range(4):
        counts = np.bincount(draws[:, position], minlength=6)
        assert chi_square(counts, trials * probabilities(ERRORS, 0.6, 0.05)) < 20.5


def test_one_item_from_each_stratum():
    """With strata as wide as 1 / 50, an item of probability P occurs floor(50 P) - 1 to floor(50 P) + 2 times."""
    items = updated(ERRORS)
    draw = tf.function(lambda seed: items.draw(50, seed))
    mean = 50 * probabilities(ERRORS, 0.6, 0.01)
    for i in range(20):
        drawn = draw(tf.constant([i, 1]))
        assert (drawn.dtype, drawn.shape) == (tf.int32, (50,))
        counts = np.bincount(drawn, minlength=6)
        assert np.all((np.floor(mean) - 1 <= counts) & (counts <= np.floor(mean) + 2))
        assert np.any(np.diff(drawn) < 0)
    np.testing.assert_array_equal(draw(SEED), draw(SEED))
    assert np.any(draw(SEED) != draw(SEED + 1))


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_importance_weights(beta):
    items = updated(ERRORS)
    batches = np.array([[0, 1, 2, 3], [1, 1, 3, 5]])
    unnormalized = (6 * probabilities(ERRORS, 0.6, 0.01)[batches]) ** -beta
    expected = unnormalized / unnormalized.max(1, keepdims=True)
    weights = items.weights(tf.constant(batches, tf.int32), tf.constant(beta))
    assert weights.dtype == tf.float32
    np.testing.assert_allclose(weights, expected, rtol=1e-5)
    np.testing.assert_array_equal(np.max(weights, 1), [1, 1])


def test_new_items_get_the_greatest_priority_so_far():
    items = Prioritized(8, alpha=0.5, epsilon=0.0)

    def add(*new):
        items.add(tf.constant(new), tf.fill([len(new)], True))
        items.tree.check_valid()

    def update(numbers, errors):
        items.update(tf.constant(numbers), tf.constant(errors))
        items.tree.check_valid()

    add(0, 1)
    update([0], [0.25])
    add(2)
    update([1, 2], [-9.0, 4.0])
    add(3)
    update([1, 2, 3], [0.01, 0.01, 0.01])  # 9 was the greatest, though it has been replaced
    add(4, 0)
    np.testing.assert_allclose(items.tree.priority(tf.range(8)), [3, 0.1, 0.1, 0.1, 3, 0, 0, 0], rtol=1e-6)


def test_items_that_are_not_present_are_never_drawn():
    items = Prioritized(6, alpha=0.6, epsilon=0.01)
    items.add(tf.range(4), tf.fill([4], True))
    items.add(tf.constant([1, 3, 5]), tf.constant([False, True, False]))
    items.tree.check_valid()
    counts = np.bincount(items.draw(3_000, SEED), minlength=6)
    np.testing.assert_allclose(counts, [1000, 0, 1000, 1000, 0, 0], atol=1)


def test_of_several_errors_of_one_item_the_greatest_counts():
    items = Prioritized(3, alpha=1.0, epsilon=0.5)
    update = tf.function(items.update)
    update(tf.constant([2, 0, 2, 2, 0]), tf.constant([1.0, -4.0, -7.0, 2.0, 3.0]))
    items.tree.check_valid()
    np.testing.assert_allclose(items.tree.priority(tf.range(3)), [4.5, 0, 7.5], rtol=1e-6)
    update(tf.constant([2]), tf.constant([0.0]))  # an item without error can still be sampled
    np.testing.assert_allclose(items.tree.priority(tf.range(3)), [4.5, 0, 0.5], rtol=1e-6)


def test_variables_are_all_of_the_state():
    items, other = updated(ERRORS), Prioritized(6, 0.6, 0.01)
    for variable, copy in zip(items.variables, other.variables, strict=True):
        assert not variable.trainable
        copy.assign(variable)
    for each in (items, other):
        each.add(tf.constant([2]), tf.constant([True]))
    np.testing.assert_array_equal(other.draw(100, SEED), items.draw(100, SEED))
