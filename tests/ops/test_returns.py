"""Returns and advantages against explicit sums, published numbers and each other."""

import itertools

import numpy as np
import oracles
import pytest
import tensorflow as tf

from keras_rl_prob import ops

MODES = {"eager": lambda f: f, "graph": tf.function, "jit": tf.function(jit_compile=True)}


def transitions(steps=11, seed=0):
    """Random transitions of 4 environments: column 0 does not end, 1 terminates, 2 is truncated, 3 does all of it, twice."""
    rng = np.random.default_rng(seed)
    rewards, values = rng.normal(size=(2, steps, 4))
    next_values = np.concatenate([values[1:], rng.normal(size=(1, 4))])
    terminated, truncated = np.zeros((2, steps, 4), bool)
    terminated[steps // 2, 1] = terminated[-1:, 3] = terminated[1:2, 3] = True
    truncated[steps // 3, 2] = truncated[steps // 2, 3] = truncated[steps // 2 + 1 : steps // 2 + 2, 3] = True
    next_values[truncated] = rng.normal(size=truncated.sum()) * 5  # the value of the final observation, not of the next
    discounts = rng.uniform(0.8, 1.0, size=(steps, 4)) * ~terminated
    return {
        "rewards": rewards,
        "discounts": discounts,
        "values": values,
        "next_values": next_values,
        "continues": 1.0 - (terminated | truncated),
    }


def without_values(data):
    return {key: x for key, x in data.items() if key != "values"}


def call(function, data, *args, mode="eager"):
    """Runs on float32 tensors; returns float32 arrays."""
    tensors = [tf.constant(x, tf.float32) for x in data.values()]
    return MODES[mode](lambda *xs: function(*xs, *args))(*tensors).numpy()


def cases(numbers, arguments):
    """`(steps, argument, mode)`: every pair eagerly, some also in a graph and under XLA; the others in `make test-all`."""
    short = {
        (numbers[-1], arguments[1], "graph"),
        (numbers[0], arguments[1], "jit"),
        (numbers[-1], arguments[1], "jit"),
    }
    every = itertools.product(numbers, arguments, MODES)
    return [pytest.param(*x, marks=() if x[2] == "eager" or x in short else pytest.mark.long) for x in every]


@pytest.mark.parametrize(("steps", "lambda_", "mode"), cases([1, 2, 11, 16], [0.0, 0.9, 1.0]))
def test_gae_is_the_sum_of_the_paper(steps, lambda_, mode):
    data = transitions(steps)
    np.testing.assert_allclose(call(ops.gae, data, lambda_, mode=mode), oracles.gae(**data, lambda_=lambda_), atol=1e-5)


@pytest.mark.parametrize(("steps", "lambda_", "mode"), cases([1, 11], [0.0, 0.7, 1.0]))
def test_lambda_returns_are_a_mixture_of_n_step_returns(steps, lambda_, mode):
    data = without_values(transitions(steps))
    expected = oracles.lambda_return(**data, lambda_=lambda_)
    np.testing.assert_allclose(call(ops.lambda_returns, data, lambda_, mode=mode), expected, atol=1e-5)


@pytest.mark.parametrize(("steps", "n", "mode"), cases([1, 11], [1, 3, 50]))
def test_n_step_returns_are_explicit_sums(steps, n, mode):
    data = without_values(transitions(steps))
    expected = oracles.n_step_return(**data, n=n)
    np.testing.assert_allclose(call(ops.n_step_returns, data, n, mode=mode), expected, atol=1e-5)


def test_discounted_returns_by_hand():
    # 5 = 1 + 0.5 * 8, 3.5 = 1 + 0.5 * 5, 2.75 = 1 + 0.5 * 3.5. Terminated at row 1: 1 = 1 + 0 * 8, 1.5 = 1 + 0.5 * 1.
    # Truncated at row 1: 5 = 1 + 0.5 * 8, whatever follows, 3.5 = 1 + 0.5 * 5.
    ones, eights = np.ones((3, 3)), np.full((3, 3), 8.0)
    discounts, continues = np.full((3, 3), 0.5), np.ones((3, 3))
    discounts[1, 1] = continues[1, 1] = continues[1, 2] = 0
    returns = ops.discounted_returns(ones, discounts, eights, continues).numpy()
    np.testing.assert_allclose(returns, np.transpose([[2.75, 3.5, 5], [1.5, 1, 5], [3.5, 5, 5]]))


# rlax `_src/multistep_test.py`, class GAETest; no terminations but the discounts of 0, each row as a column here.
GAE_GOLDEN = {
    1.0: [[-1.451188, -4.455746, 2.539651, 0.5249, -0.49], [3, 2, 1, 0, -4.9]],
    0.7: [[-0.676979, -5.248167, 2.484608, 0.67043, -0.49], [2.2899, 1.73, 1, 0, -4.9]],
    0.4: [[0.567319, -6.042124, 2.34312, 0.81596, -0.49], [1.7256, 1.46, 1, 0, -4.9]],
}


@pytest.mark.parametrize("lambda_", GAE_GOLDEN)
def test_gae_gives_the_numbers_of_rlax(lambda_):
    values = np.transpose([[1.0, 4, -3, -2, -1, -1], [-3, -2, -1, 0, 5, -1]])
    data = {
        "rewards": np.transpose([[0.0, 0, 1, 0, -0.5], [0, 0, 0, 0, 1]]),
        "discounts": np.transpose([[0.99] * 5, [0.9, 0.9, 0.9, 0, 0.9]]),
        "values": values[:-1],
        "next_values": values[1:],
        "continues": np.ones((5, 2)),
    }
    np.testing.assert_allclose(call(ops.gae, data, lambda_), np.transpose(GAE_GOLDEN[lambda_]), atol=1e-5)


# rlax `_src/multistep_test.py`, classes LambdaReturnsTest and NStepBootstrappedReturnsTest.
@pytest.mark.parametrize(
    ("function", "argument", "expected"),
    [
        (
            ops.lambda_returns,
            0.75,
            [[1.646055, 0.722813, 0.7375, 0.65, 3.4], [0.786632, 0.991306, 0.11015, 2.834, 3.99]],
        ),
        (ops.lambda_returns, 1.0, [[1.315, 0.63, 0.7, 1.7, 3.4], [1.33592, 0.9288, 0.2576, 3.192, 3.99]]),
        (ops.n_step_returns, 3, [[2.8, -3.15, 0.7, 1.7, 3.4], [1.2155, 0.714, 0.2576, 3.192, 3.99]]),
    ],
)
def test_returns_give_the_numbers_of_rlax(function, argument, expected):
    data = {
        "rewards": np.transpose([[1.0, 0, -1, 0, 1], [0.5, 0.8, -0.7, 0, 2.1]]),
        "discounts": np.transpose([[0.5, 0.9, 1, 0.5, 0.8], [0.9, 0.5, 0.3, 0.8, 0.7]]),
        "next_values": np.transpose([[3.0, 1, 5, -5, 3], [-1.7, 1.2, 2.3, 2.2, 2.7]]),
        "continues": np.ones((5, 2)),
    }
    np.testing.assert_allclose(call(function, data, argument), np.transpose(expected), atol=1e-5)


def test_reductions():
    data = transitions()
    targets = without_values(data)
    values, td_target = data["values"], data["rewards"] + data["discounts"] * data["next_values"]
    monte_carlo = call(ops.discounted_returns, targets)
    np.testing.assert_allclose(call(ops.gae, data, 1.0), monte_carlo - values, atol=1e-5)
    np.testing.assert_allclose(call(ops.gae, data, 0.0), td_target - values, atol=1e-5)
    np.testing.assert_allclose(call(ops.gae, data, 0.8) + values, call(ops.lambda_returns, targets, 0.8), atol=1e-5)
    np.testing.assert_allclose(call(ops.n_step_returns, targets, 11), monte_carlo, atol=1e-5)
    np.testing.assert_allclose(call(ops.n_step_returns, targets, 1), td_target, atol=1e-5)


@pytest.mark.parametrize("end", ["terminated", "truncated"])
@pytest.mark.parametrize(
    ("function", "args"),
    [(ops.gae, (0.9,)), (ops.lambda_returns, (0.9,)), (ops.n_step_returns, (4,))],
    ids=lambda x: getattr(x, "__name__", str(x)),
)
def test_two_episodes_in_one_row_are_the_two_apart(function, args, end):
    data = {key: x[:, :1] for key, x in transitions().items()}  # the column whose episode does not end
    data["continues"][6] = 0
    data["next_values"][6] = 7.0
    if end == "terminated":
        data["discounts"][6] = 0
    if function is not ops.gae:
        data = without_values(data)
    together = call(function, data, *args)
    first, second = ({key: x[part] for key, x in data.items()} for part in (slice(0, 7), slice(7, None)))
    apart = np.concatenate([call(function, first, *args), call(function, second, *args)])
    np.testing.assert_allclose(together, apart, atol=1e-6)
    data["rewards"][7:] += 100
    np.testing.assert_allclose(call(function, data, *args)[:7], together[:7], atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_scans_are_explicit_sums(steps, mode):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, steps, 3, 2))
    a[steps // 2, 0] = 0
    initial = rng.normal(size=(3, 2))
    data = {"a": a, "b": b}
    expected = oracles.linear_scan(a, b, 0.0)
    np.testing.assert_allclose(call(ops.reverse_linear_scan, data, mode=mode), expected, atol=1e-5)
    expected = oracles.linear_scan(a, b, initial)
    np.testing.assert_allclose(call(ops.reverse_linear_scan, data, initial, mode=mode), expected, atol=1e-5)
    expected = oracles.running_sums(b, a, initial)
    data = {"b": b, "a": a}
    np.testing.assert_allclose(call(ops.running_sums, data, initial, mode=mode), expected, atol=1e-5)


def test_running_sums_continue_from_rollout_to_rollout():
    rng = np.random.default_rng(2)
    x, carries = rng.normal(size=(12, 3)), rng.integers(0, 2, size=(12, 3)) * 0.9
    whole = ops.running_sums(x, carries, np.zeros(3)).numpy()
    first = ops.running_sums(x[:5], carries[:5], np.zeros(3)).numpy()
    second = ops.running_sums(x[5:], carries[5:], first[-1] * carries[4]).numpy()
    np.testing.assert_allclose(np.concatenate([first, second]), whole)


@pytest.mark.parametrize("mode", MODES)
def test_gradient_of_the_scan(mode):
    """The derivative of `sum(x)` by `increments[k]` is `sum_{t <= k} prod_{t <= j < k} decays[j]`."""
    decays = np.random.default_rng(3).uniform(size=(6, 2))

    def gradient(decays, increments):
        with tf.GradientTape() as tape:
            tape.watch(increments)
            total = tf.reduce_sum(ops.reverse_linear_scan(decays, increments))
        return tape.gradient(total, increments)

    result = call(gradient, {"decays": decays, "increments": np.ones((6, 2))}, mode=mode)
    np.testing.assert_allclose(result, oracles.running_sums(np.ones((6, 2)), decays, 0.0), atol=1e-5)


def test_dtype_and_mask_types():
    data = transitions()
    assert ops.gae(**data, lambda_=0.9).dtype == tf.float64
    data["continues"] = data["continues"].astype(bool)
    np.testing.assert_allclose(ops.gae(**data, lambda_=0.9), oracles.gae(**data, lambda_=0.9))


def test_errors():
    data = transitions()
    with pytest.raises(
        ValueError, match=r"`continues` must have the shape of `rewards`, \(11, 4\). Received: continues"
    ):
        ops.gae(**{**data, "continues": np.ones((11, 3))}, lambda_=0.9)
    with pytest.raises(ValueError, match=r"`decays` must have the shape of `increments`.* Received: decays.shape="):
        ops.reverse_linear_scan(np.ones((3, 2)), np.ones((3, 1)))
    with pytest.raises(ValueError, match="`carries` must have the shape of `x`"):
        ops.running_sums(np.ones((3, 2)), np.ones((2, 2)), np.zeros(2))
    with pytest.raises(ValueError, match=r"`n` must be a positive integer. Received: n=0"):
        ops.n_step_returns(**without_values(data), n=0)
