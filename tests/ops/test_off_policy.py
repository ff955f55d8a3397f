"""V-trace and Retrace against explicit sums, published numbers, the returns that they reduce to and each other."""

import itertools

import numpy as np
import oracles
import pytest
import tensorflow as tf
from test_returns import MODES, transitions

from keras_rl_prob import ops

CLIPS = {"clip_rho": 2.0, "clip_c": 1.2, "clip_pg_rho": 3.0}
SOME_MODES = [(steps, mode) for steps in (1, 2, 11) for mode in MODES if mode == "eager" or steps == 11]


def off_policy(steps=11, seed=0):
    """Transitions with all ends (see `transitions`), ratios from 0.08 to 12."""
    rng = np.random.default_rng(seed + 1)
    return transitions(steps, seed) | {"log_ratios": rng.permuted(np.linspace(-2.5, 2.5, steps * 4)).reshape(steps, 4)}


def for_retrace(data, lambda_=0.9):
    """The same as arguments of `retrace`: values are those of the actions, which differ from those of the observations."""
    data = dict(data)
    data["traces"] = lambda_ * np.minimum(1, np.exp(data.pop("log_ratios")))
    data["action_values"] = data.pop("values") + np.random.default_rng(2).normal(size=data["traces"].shape)
    return data


def one_column(rows, names="rewards discounts values next_values continues"):
    return {name: np.array(row, float)[:, None] for name, row in zip(names.split(), rows, strict=True)}


def run(function, data, mode="eager", **settings):
    """Runs on float32 tensors; returns an array, or a list of two."""
    names = list(data)
    tensors = [tf.constant(x, tf.float32 if np.issubdtype(x.dtype, np.floating) else None) for x in data.values()]
    result = MODES[mode](lambda *xs: function(**dict(zip(names, xs, strict=True)), **settings))(*tensors)
    return [x.numpy() for x in result] if isinstance(result, tuple) else result.numpy()


def assert_close(results, expected, atol=2e-5):
    assert len(results) == len(expected)
    for got, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=atol, rtol=1e-5)


# V-trace


@pytest.mark.parametrize(("steps", "mode"), SOME_MODES)
def test_vtrace_is_the_sum_of_the_paper(steps, mode):
    data = off_policy(steps)
    assert_close(run(ops.vtrace, data, mode, lambda_=0.9, **CLIPS), oracles.vtrace(**data, lambda_=0.9, **CLIPS))


def test_defaults_are_those_of_the_paper():
    data = off_policy()
    assert_close(run(ops.vtrace, data), oracles.vtrace(**data))


def test_every_clip_of_vtrace_binds():
    data = off_policy()
    ratios = np.exp(data["log_ratios"])
    bounds = [0, *sorted(CLIPS.values()), np.inf]
    assert all(((low < ratios) & (ratios < high)).any() for low, high in itertools.pairwise(bounds))
    clipped = run(ops.vtrace, data, **CLIPS)
    for name, changed in {"clip_rho": (True, True), "clip_c": (True, True), "clip_pg_rho": (False, True)}.items():
        free = CLIPS | {name: np.inf}
        result = run(ops.vtrace, data, **free)
        assert tuple(not np.allclose(x, y) for x, y in zip(result, clipped, strict=True)) == changed
        assert_close(result, oracles.vtrace(**data, **free), atol=1e-3)


def test_vtrace_with_ends_by_hand():
    """Ratios below and above the clips, a truncation after row 1 and a termination after row 3, gamma 0.9.

    The second episode: `v[3] = 2 + 0.25 (3 - 2)`, `v[2] = -1 + (0.5 + 0.9 * 2 + 1) + 0.9 (2.25 - 2)`; the first:
    `v[1] = -2 + 0.9 * 7`, `v[0] = 0.5 + 0.5 (1 + 0.9 - 0.5) + 0.5 * 0.9 (4.3 - 1)`; the third `v[4] = 1 - 0.9 * 3`.
    """
    data = one_column([[1, -2, 0.5, 3, 1], [0.9] * 5, [0.5, 1, -1, 2, 4], [1, 7, 2, 4, -3], [1, 0, 1, 0, 1]])
    data["discounts"][3] = 0
    data["log_ratios"] = np.log([[0.5], [2], [1.5], [0.25], [1]])
    targets, advantages = run(ops.vtrace, data)
    np.testing.assert_allclose(targets[:, 0], [2.685, 4.3, 2.525, 2.25, -1.7], rtol=1e-5)
    np.testing.assert_allclose(advantages[:, 0], [2.185, 3.3, 3.525, 0.25, -5.7], rtol=1e-5)


def test_vtrace_gives_the_numbers_of_scalable_agent():
    """Inputs of scalable_agent `vtrace_test.py`: ratios from 0.08 to 7.4, both clips bind; expected numbers by equation (1)."""
    count = np.arange(10.0).reshape(5, 2)
    values = count / 2
    data = {
        "log_ratios": 5 * (count / 10 - 0.5),
        "rewards": count,
        "discounts": np.tile([0.9, 0.45], (5, 1)),
        "values": values,
        "next_values": np.concatenate([values[1:], [[1.0, 2.0]]]),
        "continues": np.ones((5, 2)),
    }
    expected = [
        [
            [0.3825903, 0.867841],
            [5.1787818, 4.9288848],
            [19.6977788, 17.3792782],
            [30.1985604, 27.5095071],
            [22.13, 24.48],
        ],
        [
            [0.3825903, 0.367841],
            [4.1787818, 3.4288848],
            [17.6977788, 14.8792782],
            [37.7837454, 31.9352],
            [10.78, 11.88],
        ],
    ]
    assert_close(run(ops.vtrace, data, clip_rho=3.7, clip_pg_rho=2.2), expected)


def test_vtrace_gives_the_numbers_of_rlax():
    """Inputs of rlax `_src/vtrace_test.py`; its errors are targets minus values and here equal the advantages."""
    behaviour = [[[8.9, 0.7], [5, 1], [0.6, 0.1], [-0.9, -0.1]], [[0.3, -5], [1, -8], [0.3, 1.7], [4.7, 3.3]]]
    target = [[[0.4, 0.5], [9.2, 8.8], [0.7, 4.4], [7.9, 1.4]], [[1, 0.9], [1, -1], [-4.3, 8.7], [0.8, 0.3]]]
    actions, values = np.array([[0, 1, 0, 0], [1, 0, 0, 1]]), np.array([[2.1, 1.1, -3.1, 0], [3.1, 0.1, -1.1, 7.4]])
    now, then = (ops.chosen(tf.nn.log_softmax(np.array(x)), actions).numpy() for x in (target, behaviour))
    rows = {
        "log_ratios": now - then,
        "rewards": np.array([[-1.3, -1.3, 2.3, 42], [1.3, 5.3, -3.3, -5]]),
        "discounts": np.array([[0, 0.89, 0.85, 0.99], [0.88, 1, 0.83, 0.95]]),
        "values": values,
        "next_values": np.concatenate([values[:, 1:], [[8.4], [-1.2]]], 1),
        "continues": np.ones((2, 4)),
    }
    data = {name: x.T for name, x in rows.items()}
    expected = [[-1.6155143, -3.4973226, 1.8670535, 50.316], [1.4662434, 3.6116402, -8.3369236e-05, -13.54]]
    targets, advantages = run(ops.vtrace, data)
    assert_close([targets - data["values"], advantages], [np.transpose(expected)] * 2)


@pytest.mark.parametrize("lambda_", [0.0, 0.8, 1.0])
def test_on_policy_vtrace_is_the_lambda_return(lambda_):
    data = off_policy()
    data["log_ratios"][:] = 0
    targets, advantages = run(ops.vtrace, data, lambda_=lambda_)
    del data["log_ratios"]
    np.testing.assert_allclose(targets - data["values"], run(ops.gae, data, lambda_=lambda_), atol=1e-5)
    values = data.pop("values")
    np.testing.assert_allclose(targets, run(ops.lambda_returns, data, lambda_=lambda_), atol=1e-5)
    if lambda_ == 1:
        n_step = run(ops.n_step_returns, data, n=11)  # as long as the rollout
        assert_close([targets, advantages], [n_step, n_step - values])


def test_vtrace_that_trusts_no_ratio_keeps_the_values():
    data = off_policy()
    targets, advantages = run(ops.vtrace, data, clip_rho=0.0, clip_c=0.0)
    td_errors = data["rewards"] + data["discounts"] * data["next_values"] - data["values"]
    assert_close([targets, advantages], [data["values"], np.minimum(1, np.exp(data["log_ratios"])) * td_errors])


def test_ratios_beyond_all_numbers_are_clipped_too():
    data = off_policy()
    sign = np.sign(data["log_ratios"])
    enormous = run(ops.vtrace, data | {"log_ratios": 1e9 * sign}, **CLIPS)  # of actions that one policy never takes
    assert_close(enormous, oracles.vtrace(**data | {"log_ratios": 50 * sign}, **CLIPS))


# Retrace


@pytest.mark.parametrize(("steps", "mode"), SOME_MODES)
def test_retrace_is_the_sum_of_the_paper(steps, mode):
    data = for_retrace(off_policy(steps))
    np.testing.assert_allclose(run(ops.retrace, data, mode), oracles.retrace(**data), atol=1e-5)


@pytest.mark.parametrize(
    ("end", "expected"),
    [(None, [1.94338, 2.1482, 2.72]), ("terminated", [-0.89, -1, 2.72]), ("truncated", [0.73, 0.8, 2.72])],
)
def test_retrace_as_acer_has_it_by_hand(end, expected):
    """The last row has `2 + 0.9 * 0.8`; the middle one `-1 + 0.9 (0.6 + 0.9 (2.72 + 0.5))`, `-1` or `-1 + 0.9 * 2`."""
    data = one_column(
        [[1, -1, 2], [0.9] * 3, [0.5, 1.5, -0.5], [0.4, 0.6, 0.8], [1, 1, 1], np.minimum(1, [0.5, 2, 0.9])],
        "rewards discounts action_values next_values continues traces",
    )
    if end:
        data["continues"][1] = 0
        data["discounts"][1] *= end == "truncated"
        data["next_values"][1] = 2
    np.testing.assert_allclose(run(ops.retrace, data)[:, 0], expected, rtol=1e-5)


def test_retrace_gives_the_numbers_of_rlax():
    """Class RetraceTest of rlax `_src/value_learning_test.py`, lambda 0.9: half the squared error."""
    q = [[[1.1, 2.1], [-1.1, 1.1], [3.1, -3.1], [-1.2, 0]], [[2.1, 3.1], [9.5, 0.1], [-2.1, -1.1], [0.1, 7.4]]]
    target_q = [[[1.2, 2.2], [-1.2, 0.2], [2.2, -1.2], [-2.25, -6]], [[4.2, 2.2], [1.2, 1.2], [-1.2, -2.2], [1.5, 1]]]
    pi = np.array([[[0.5, 0.5], [0.2, 0.8], [0.6, 0.4], [0.9, 0.1]], [[0.1, 0.9], [1, 0], [0.3, 0.7], [0.7, 0.3]]])
    mu, actions = np.array([[0.5, 0.1, 0.9, 0.3], [0.4, 0.6, 1, 0.9]]), np.array([[0, 1, 0, 0], [1, 0, 0, 1]])
    taken_q, taken_target_q, taken_pi = (ops.chosen(np.array(x), actions).numpy() for x in (q, target_q, pi))
    rows = {
        "rewards": np.array([[-1.3, -1.3, 2.3], [1.3, 5.3, -3.3]]),
        "discounts": np.array([[0, 0.89, 0.85], [0.88, 1, 0.83]]),
        "action_values": taken_target_q[:, :-1],
        "next_values": (pi * target_q).sum(-1)[:, 1:],
        "continues": np.ones((2, 3)),
        "traces": (0.9 * np.minimum(1, taken_pi / mu))[:, :-1],
    }
    errors = run(ops.retrace, {name: x.T for name, x in rows.items()}).T - taken_q[:, :-1]
    np.testing.assert_allclose(
        errors**2 / 2, [[2.88, 3.8934102, 4.5942383], [0.3112161, 20.253207, 0.0031601]], rtol=2e-5
    )


def test_reductions_of_retrace():
    data = for_retrace(off_policy(), lambda_=0.0)
    expected_sarsa = data["rewards"] + data["discounts"] * data["next_values"]
    np.testing.assert_allclose(run(ops.retrace, data), expected_sarsa, atol=1e-6)
    for lambda_ in (0.7, 1.0):  # on-policy, and values that do not depend on the action
        data = for_retrace(off_policy())
        data["traces"][:], data["action_values"] = lambda_, transitions()["values"]
        targets = run(ops.retrace, data)
        del data["traces"], data["action_values"]
        np.testing.assert_allclose(targets, run(ops.lambda_returns, data, lambda_=lambda_), atol=1e-5)
    np.testing.assert_allclose(targets, run(ops.discounted_returns, data), atol=1e-5)


def test_retrace_with_the_traces_of_tree_backup():
    """Sutton and Barto, 2018, eq. (7.15): over the actions that were not taken their values, over the other what came of it."""
    pi, q, gamma = np.array([[0.2, 0.8], [0.5, 0.5], [0.7, 0.3]]), np.array([[3.0, 1], [-1, 2], [4, 5]]), 0.9
    actions, rewards = [1, 0], [1.0, -2.0]
    last = rewards[1] + gamma * (0.7 * 4 + 0.3 * 5)
    first = rewards[0] + gamma * (0.5 * 2 + 0.5 * last)
    data = one_column(
        [rewards, [gamma] * 2, q[[0, 1], actions], (pi * q).sum(-1)[1:], [1, 1], pi[[0, 1], actions]],
        "rewards discounts action_values next_values continues traces",
    )
    np.testing.assert_allclose(run(ops.retrace, data)[:, 0], [first, last], rtol=1e-6)


def test_retrace_with_the_traces_of_watkins_is_a_return_up_to_the_first_action_that_is_not_greedy():
    data = for_retrace(off_policy())
    greedy = np.random.default_rng(3).uniform(size=data["traces"].shape) < 0.6
    data["traces"] = greedy.astype(float)
    data["action_values"] = np.where(greedy, transitions()["values"], data["action_values"])
    targets = run(ops.retrace, data)
    del data["traces"], data["action_values"]
    data["continues"] = data["continues"] * np.concatenate([greedy[1:], greedy[:1]])
    np.testing.assert_allclose(targets, run(ops.discounted_returns, data), atol=1e-5)


# Both


def as_list(result):
    return result if isinstance(result, list) else [result]


both = pytest.mark.parametrize(
    ("function", "arguments"), [(ops.vtrace, dict), (ops.retrace, for_retrace)], ids=["vtrace", "retrace"]
)


@both
@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_two_episodes_in_one_row_are_the_two_apart(function, arguments, end):
    data = {name: x[:, :1] for name, x in arguments(off_policy()).items()}  # the column whose episode does not end
    data["continues"][6], data["next_values"][6] = 0, 7
    data["discounts"][6] *= end == "truncated"
    together = as_list(run(function, data))
    parts = [as_list(run(function, {name: x[part] for name, x in data.items()})) for part in (slice(7), slice(7, None))]
    assert_close(together, [np.concatenate(pair) for pair in zip(*parts, strict=True)])
    data["rewards"][7:] += 100
    assert_close([x[:7] for x in as_list(run(function, data))], [x[:7] for x in together])


@both
@pytest.mark.parametrize("mode", MODES)
def test_rows_that_do_not_count_neither_add_nor_break(function, arguments, mode):
    """After each end there is a row whose action was ignored, all NaN; it must have no effect."""
    data = {name: x[:, 3:] for name, x in arguments(off_policy()).items()}
    ends = np.flatnonzero(data["continues"][:, 0] == 0)
    assert len(ends) == 4
    expected = as_list(run(function, data))
    inserted = {name: np.insert(x, ends + 1, np.nan, axis=0) for name, x in data.items()}
    valid = ~np.isnan(inserted["rewards"])
    inserted["discounts"][~valid] = inserted["continues"][~valid] = 1
    results = as_list(run(function, inserted | {"valid": valid}, mode))
    assert_close([x[valid] for x in results], [x[:, 0] for x in expected])
    values = "values" if function is ops.vtrace else "action_values"
    inserted[values][~valid] = 5.0
    results = as_list(run(function, inserted | {"valid": valid}))
    for result, instead in zip(results, (5, 0), strict=False):
        assert (result[~valid] == instead).all()


@both
def test_dtypes_and_errors(function, arguments):
    data = arguments(off_policy())
    every = function(**data, valid=np.ones((11, 4), np.float32))
    for got, wanted in zip(tf.nest.flatten(every), tf.nest.flatten(function(**data)), strict=True):
        assert got.dtype == tf.float64
        np.testing.assert_array_equal(got, wanted)
    data["continues"] = data["continues"].astype(bool)
    assert_close(tf.nest.flatten(function(**data)), tf.nest.flatten(every))
    with pytest.raises(
        ValueError, match=r"`next_values` must have the shape of `rewards`, \(11, 4\). Received: next_values"
    ):
        function(**data | {"next_values": np.ones((11, 3))})
