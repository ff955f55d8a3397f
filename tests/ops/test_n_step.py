"""`n_step_sums` against the sum that defines it, and against n-step returns over a whole sequence."""

import numpy as np
import pytest
import tensorflow as tf

from keras_rl_prob import ops

MODES = {"eager": lambda f: f, "graph": tf.function, "jit": tf.function(jit_compile=True)}


def transitions(steps, seed=0, columns=50):
    """Random ends of both kinds: `(rewards, discounts, continues)`, `[steps, columns]`; column 0 does not end."""
    rng = np.random.default_rng(seed)
    terminated, truncated = rng.uniform(size=(2, steps, columns)) < 0.2
    terminated[:, 0] = truncated[:, 0] = False
    discounts = rng.uniform(0.5, 1.0, size=(steps, columns)) * ~terminated
    return rng.normal(size=(steps, columns)), discounts, ~(terminated | truncated)


def by_definition(rewards, discounts, continues):
    """`R`, `D` and `m` of one column."""
    ends = [k for k in range(len(rewards)) if not continues[k]]
    steps = ends[0] + 1 if ends else len(rewards)
    total = sum(np.prod(discounts[:k]) * rewards[k] for k in range(steps))
    return total, np.prod(discounts[:steps]), steps


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_sums_of_the_definition(n, mode):
    data = transitions(n)
    arguments = [tf.constant(data[0], tf.float32), tf.constant(data[1], tf.float32), tf.constant(data[2])]
    total, discount, steps = MODES[mode](lambda *x: ops.n_step_sums(*x))(*arguments)
    expected = np.transpose([by_definition(*(x[:, i] for x in data)) for i in range(50)])
    np.testing.assert_allclose(total, expected[0], atol=1e-5)
    np.testing.assert_allclose(discount, expected[1], atol=1e-6)
    np.testing.assert_array_equal(steps, expected[2])
    assert steps.dtype == tf.int32
    assert set(steps.numpy()) == set(range(1, n + 1))  # including episodes that end at every step


def test_by_hand():
    # Column 0 does not end: 1 + 0.5 * 2 + 0.25 * 4, then the value times 0.125. Column 1 terminates at its second step:
    # 1 + 0.5 * 2, and no value. Column 2 is truncated there: the same, and the value times 0.25.
    rewards = np.transpose([[1.0, 2, 4]] * 3)
    discounts, continues = np.full((3, 3), 0.5), np.ones((3, 3), bool)
    discounts[1, 1] = continues[1, 1] = continues[1, 2] = 0
    total, discount, steps = ops.n_step_sums(rewards, discounts, continues)
    np.testing.assert_allclose(total, [3, 2, 2])
    np.testing.assert_allclose(discount, [0.125, 0, 0.25])
    np.testing.assert_array_equal(steps, [3, 2, 2])


def test_one_step_is_the_transition_itself():
    rewards, discounts, continues = transitions(1)
    total, discount, steps = ops.n_step_sums(rewards, discounts, continues)
    np.testing.assert_array_equal(total, rewards[0])
    np.testing.assert_array_equal(discount, discounts[0])
    np.testing.assert_array_equal(steps, np.ones(50))


@pytest.mark.parametrize("n", [1, 3, 5])
def test_windows_of_a_sequence_give_its_n_step_returns(n):
    """`R + D V` of every window is `ops.n_step_returns`, with the value of where its last step led to."""
    rewards, discounts, continues = transitions(12, seed=1)
    next_values = np.random.default_rng(2).normal(size=(12, 50))
    expected = ops.n_step_returns(rewards, discounts, next_values, continues, n).numpy()
    starts = np.arange(12 - n + 1)
    window = starts + np.arange(n)[:, None]  # [n, starts]
    total, discount, steps = ops.n_step_sums(rewards[window], discounts[window], continues[window])
    assert total.shape == (12 - n + 1, 50)
    last = starts[:, None] + steps.numpy() - 1
    np.testing.assert_allclose(total + discount * next_values[last, np.arange(50)], expected[starts], atol=1e-12)


def test_what_follows_an_end_leaves_no_trace():
    rewards, discounts, continues = transitions(4, columns=3)
    continues[:] = True
    continues[1, :] = False
    results = ops.n_step_sums(rewards, discounts, continues)
    rewards[2:] = np.nan
    discounts[2:] = np.inf
    for result, other in zip(results, ops.n_step_sums(rewards, discounts, continues), strict=True):
        np.testing.assert_array_equal(result, other)
