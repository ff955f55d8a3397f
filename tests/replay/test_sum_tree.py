"""`SumTree` against a NumPy array of priorities under random operations."""

import numpy as np
import pytest
import tensorflow as tf

from keras_rl_prob.replay import SumTree

SIZES = [1, 2, 3, 5, 8, 1000]


def assigned(priorities, items, values):
    """The array after an assignment: the greatest value of those that an item gets."""
    priorities = priorities.copy()
    for item in set(items):
        priorities[item] = max(value for i, value in zip(items, values, strict=True) if i == item)
    return priorities


def found(priorities, mass):
    """The item whose interval `[sum of those before, that sum + its own)` holds each point."""
    ends = [priorities[: item + 1].sum() for item in range(len(priorities))]
    return [next(item for item, end in enumerate(ends) if point < end) for point in mass]


def filled(priorities):
    tree = SumTree(len(priorities))
    tree.assign(tf.range(len(priorities)), tf.constant(priorities, tf.float64))
    return tree


@pytest.mark.parametrize(
    ("size", "mode"),
    [
        *((size, "eager") for size in SIZES),
        *(pytest.param(size, "graph", marks=() if size in (1, 5) else pytest.mark.long) for size in SIZES),
    ],
)
def test_random_operations(size, mode):
    rng, tree, priorities = np.random.default_rng(size), SumTree(size), np.zeros(size)
    assign, find = tree.assign, tree.find
    if mode == "graph":
        assign, find = tf.function(assign), tf.function(find)
    tree.check_valid()
    for count in [1, 2, 7, 7, 7, 40, 40, 40]:
        items = rng.integers(0, size, count)
        # Eighths and their sums are exact, so that the points below fall on the very bounds of the intervals.
        values = rng.integers(0, 40, count) / 8 * (rng.uniform(size=count) < 0.7)
        assign(tf.constant(items, tf.int32), tf.constant(values, tf.float32))
        priorities = assigned(priorities, items, values)
        tree.check_valid()
        assert float(tree.total) == priorities.sum()
        np.testing.assert_array_equal(tree.priority(tf.range(size)), priorities)
        if priorities.sum() > 0:
            mass = np.arange(0, priorities.sum(), max(priorities.sum() // 30, 1) / 8)
            np.testing.assert_array_equal(find(tf.constant(mass, tf.float64)), found(priorities, mass))
    assert priorities.sum() > 0


@pytest.mark.parametrize("size", SIZES)
def test_drawing_never_finds_an_item_without_priority(size):
    """Thirds and sevenths do not add up exactly; at the very end of the mass rounding would lead beyond the last item."""
    rng = np.random.default_rng(size)
    for _ in range(20):
        priorities = rng.integers(0, 3, size) / rng.choice([3.0, 7.0, 1e5], size)
        priorities[rng.integers(size)] = 1e-3
        tree = filled(priorities)
        total = float(tree.total)
        ends = [
            0.0,
            np.nextafter(0.0, 1.0),
            total * (1 - 1e-16),
            np.nextafter(total, 0.0),
            total,
            np.nextafter(total, 9e9),
        ]
        items = tree.find(tf.constant([*ends, *rng.uniform(0, total, 200)], tf.float64)).numpy()
        assert priorities[items].min() > 0
        assert items[0] == np.flatnonzero(priorities)[0]
        assert items[4] == np.flatnonzero(priorities)[-1]


def test_the_only_item_with_a_priority_is_always_found():
    for item in range(5):
        tree = filled(np.eye(5)[item] * 0.3)
        np.testing.assert_array_equal(tree.find(tf.linspace(tf.constant(0.0, tf.float64), 0.3, 50)), [item] * 50)


def test_a_large_tree_keeps_small_priorities():
    """In float32, adding less than 0.06 would not change a sum of a million ones."""
    tree = SumTree(2**20)
    tree.assign(tf.range(2**20), tf.ones([2**20]))
    tree.assign(tf.constant([7]), tf.constant([1.0001]))
    tree.check_valid()
    np.testing.assert_allclose(tree.total, 2**20 + 1e-4, rtol=0, atol=1e-7)


def test_priorities_of_nested_items():
    tree = filled([1.0, 2.0, 4.0])
    np.testing.assert_array_equal(tree.priority(tf.constant([[2, 0], [1, 1]])), [[4, 1], [2, 2]])
    assert tree.priority(tf.constant(2)).dtype == tf.float32


@pytest.mark.parametrize("value", [0.5, -1.0, np.nan, np.inf])
@pytest.mark.parametrize("node", [1, 2, 5, 8, 15])
def test_check_valid_finds_a_wrong_node(node, value):
    tree = filled(np.arange(1.0, 9.0))
    tree.check_valid()
    (nodes,) = tree.variables
    nodes.scatter_nd_update([[node]], [value])
    with pytest.raises(ValueError, match=r"must be the sums of those below them\. Received: nodes="):
        tree.check_valid()


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_check_valid_finds_a_priority_that_is_none_though_the_sums_agree(value):
    tree = filled([1.0, 2.0, 4.0, 8.0])
    (nodes,) = tree.variables
    nodes.scatter_nd_update([[6], [3], [1]], [value, value + 8, value + 11])
    with pytest.raises(ValueError, match="Received: nodes="):
        tree.check_valid()
