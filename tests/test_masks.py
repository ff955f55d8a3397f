"""The structure of masks for an action space, which mask belongs to which component, and random actions with masks."""

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from keras_rl_prob import masks

Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple = (
    spaces.Box,
    spaces.Dict,
    spaces.Discrete,
    spaces.MultiBinary,
    spaces.MultiDiscrete,
    spaces.Tuple,
)
ARM, X = Box(-1.0, 1.0, (2,)), Box(-1.0, 1.0, (4,))
NESTED = Dict({"move": Tuple([ARM, Discrete(3), Tuple([ARM])]), "keys": MultiBinary(2), "tool": MultiDiscrete([2, 4])})


@pytest.mark.parametrize(
    ("actions", "space"),
    [
        (Discrete(6, start=3), MultiBinary(6)),
        (MultiDiscrete([2, 4, 3]), MultiBinary([3, 4])),
        (MultiDiscrete([[2, 3], [5, 2]]), MultiBinary([2, 2, 5])),
        (MultiBinary(3), MultiBinary(3)),
        (MultiBinary([2, 3]), MultiBinary([2, 3])),
        (Tuple([ARM, Discrete(3)]), Dict({"1": MultiBinary(3)})),
        (
            NESTED,
            Dict({"keys": MultiBinary(2), "move": Dict({"1": MultiBinary(3)}), "tool": MultiBinary([2, 4])}),
        ),
        (ARM, None),
        (Dict({"arm": ARM, "leg": Tuple([ARM])}), None),
    ],
    ids=str,
)
def test_the_space_of_masks(actions, space):
    assert masks.mask_space(actions) == space
    observation = Dict({"x": X} if space is None else {"a": X, "action_mask": space, "x": X})
    found = masks.places(observation, actions)
    assert [place.index for place in found] == list(range(1, 1 + len(found)))  # between "a" and "x"
    assert len(found) == (0 if space is None else str(space).count("MultiBinary"))
    for place in found:
        assert place.leaf is masks.spaces.leaves(actions)[place.action]
        assert place.shape == masks.existing(place.leaf).shape


def test_which_entries_there_are():
    np.testing.assert_array_equal(masks.existing(MultiDiscrete([2, 3])), [[True, True, False], [True, True, True]])
    assert masks.existing(Discrete(4)).tolist() == [True] * 4
    assert masks.existing(ARM) is None


def test_masks_that_do_not_fit_are_found_nowhere():
    for mask in (MultiBinary(5), Discrete(6), Dict({"0": MultiBinary(6)})):
        assert masks.places(Dict({"action_mask": mask, "x": X}), Discrete(6)) == []
    for observation in (
        X,
        MultiBinary(6),
        Dict({"mask": MultiBinary(6)}),
        Dict({"x": Dict({"action_mask": MultiBinary(6)})}),
    ):
        assert masks.places(observation, Discrete(6)) == []


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.float32, np.int64])
def test_a_box_may_be_a_mask(kind):
    observation = Dict({"action_mask": Box(0, 1, (6,), kind)})
    assert [place.shape for place in masks.places(observation, Discrete(6))] == [(6,)]


def test_parts_are_found_by_where_they_are():
    """Masks of Tuples may be Tuples too, with anything where there is no mask."""
    pair = Tuple([Discrete(2), Discrete(3)])
    first, second = np.ones((7, 2)), np.ones((7, 3))
    assert masks.align(pair, None) == [None, None]
    for mask, expected in [
        ((first, second), [first, second]),
        ({"0": first, "1": second}, [first, second]),
        ({"1": second}, [None, second]),
    ]:
        aligned = masks.align(pair, mask, leading=1)
        assert len(aligned) == 2
        assert all(x is y for x, y in zip(aligned, expected, strict=True))


@pytest.mark.parametrize(
    ("actions", "mask", "message"),
    [
        (
            Discrete(6),
            np.ones((1, 5)),
            r"`action_mask` of the observation must have the shape \(6,\), to mask the action space's Discrete\(6\). "
            r"Received: shape \(5,\)",
        ),
        (
            NESTED,
            {"move": {"1": np.ones((1, 4))}},
            r"`action_mask.move.1` .* the shape \(3,\).* Received: shape \(4,\)",
        ),
        (NESTED, {"tool": np.ones((1, 6))}, r"`action_mask.tool` .* the shape \(2, 4\).* Received: shape \(6,\)"),
        (NESTED, {"move": {"0": np.ones((1, 2))}}, r"`action_mask.move.0` .* must be left out, since nothing of Box"),
        (
            Tuple([ARM, Discrete(3)]),
            np.ones((1, 3)),
            r"must be laid out like the action space Tuple.*Expected: Dict\('1': MultiBinary\(3\)\). Received: masks at \[''\]",
        ),
        (NESTED, {"tools": np.ones((1, 2, 4))}, r"must be laid out like.* Received: masks at \['tools'\]"),
        (ARM, np.ones((1, 2)), r"must be left out, since nothing of Box"),
    ],
)
def test_masks_that_do_not_fit(actions, mask, message):
    with pytest.raises(ValueError, match=message):
        masks.align(actions, mask, leading=1)


@pytest.mark.parametrize(
    ("leaf", "mask", "action", "forbidden"),
    [
        (Discrete(3), [[1, 0, 1], [0, 0, 1], [0, 0, 0]], [1, 2, 0], [True, False, True]),
        (
            MultiDiscrete([2, 3]),
            [[[1, 0, 0], [0, 1, 1]], [[1, 0, 0], [0, 1, 1]], [[0, 1, 0], [1, 1, 1]]],
            [[0, 2], [0, 0], [0, 1]],
            [False, True, True],
        ),
        (MultiBinary(2), [[1, 0], [1, 0], [0, 0]], [[1, 0], [0, 1], [0, 0]], [False, True, False]),
    ],
    ids=str,
)
def test_what_is_forbidden(leaf, mask, action, forbidden):
    np.testing.assert_array_equal(masks.forbidden(leaf, np.array(mask), np.array(action)), forbidden)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_random_actions_under_a_mask(jit_compile):
    """All that is allowed is equally likely: 20,000 draws, the standard error of a frequency is at most 0.0036."""
    count = 20_000
    mask = {
        "keys": tf.repeat([[1, 0]], count, 0),
        "move": {"1": tf.repeat([[0.0, 1.0, 1.0]], count, 0)},
        "tool": tf.repeat([[[1, 1, 1, 1], [1, 0, 1, 1]]], count, 0),  # the first component has only two classes
    }

    @tf.function(jit_compile=jit_compile)
    def draw():
        return masks.sample(NESTED, count, tf.constant([1, 2]), mask)

    actions = tf.nest.map_structure(lambda x: x.numpy(), draw())
    tool, keys = actions["tool"], actions["keys"]
    for drawn, expected in [
        (tool[:, 0], [1 / 2, 1 / 2]),
        (tool[:, 1], [1 / 3, 0, 1 / 3, 1 / 3]),
        (keys[:, 0], [1 / 2, 1 / 2]),
        (keys[:, 1], [1, 0]),
        (actions["move"][1], [0, 1 / 2, 1 / 2]),
    ]:
        counts = np.bincount(drawn, minlength=len(expected))
        np.testing.assert_allclose(counts / count, expected, atol=0.015)
        assert (counts[np.equal(expected, 0)] == 0).all()
    for one, other in ((tool[:, 0], tool[:, 1]), (tool[:, 1], actions["move"][1]), (tool[:, 0], keys[:, 0])):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.03
    arm = actions["move"][0]
    assert (arm.shape, arm.dtype) == ((count, 2), np.float32)


def test_random_actions_where_nothing_is_allowed_or_nothing_is_masked():
    for mask in (tf.zeros((1000, 3)), None):
        actions = masks.sample(Discrete(3), 1000, tf.constant([1, 2]), mask)
        assert np.bincount(actions).min() > 250


@pytest.mark.parametrize(
    ("actions", "mask", "allowed"),
    [
        (Discrete(3, start=5), [0, 1, 2], {6, 7}),
        (MultiBinary(2), [True, False], {(0, 0), (1, 0)}),
        (MultiDiscrete([2, 4]), [[0, 1, 1, 1], [1, 0, 0, 1]], {(1, 0), (1, 3)}),
        (MultiDiscrete([[2, 1], [1, 2]]), [[[1, 1], [1, 0]], [[1, 0], [0, 1]]], {(0, 0, 0, 1), (1, 0, 0, 1)}),
    ],
    ids=str,
)
def test_gymnasium_draws_what_a_mask_allows(actions, mask, allowed):
    for space, nest, leaf in [
        (actions, np.array(mask), lambda x: x),
        (Dict({"arm": ARM, "do": Tuple([ARM, actions])}), {"do": {"1": np.array(mask)}}, lambda x: x["do"][1]),
    ]:
        space.seed(0)
        given = masks.for_gymnasium(space, nest)
        drawn = [leaf(space.sample(given)) for _ in range(100)]
        assert {tuple(x.reshape(-1)) if np.ndim(x) else x for x in drawn} == allowed


def test_without_a_mask_gymnasium_draws_all():
    assert masks.for_gymnasium(NESTED, None) is None
    assert len({Discrete(3).sample(masks.for_gymnasium(Discrete(3), None)) for _ in range(100)}) == 3
