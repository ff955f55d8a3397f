"""Gymnasium spaces as nests: order, dtypes, conversion of values, clipping, serialization."""

import collections
import json

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces as gym_spaces
from gymnasium.vector.utils import concatenate, create_empty_array

from keras_rl_prob import border, spaces

Box, Discrete, MultiDiscrete, MultiBinary = (
    gym_spaces.Box,
    gym_spaces.Discrete,
    gym_spaces.MultiDiscrete,
    gym_spaces.MultiBinary,
)

NESTED = gym_spaces.Dict(
    [
        ("z", Discrete(3)),
        ("a", gym_spaces.Tuple((MultiBinary(2), gym_spaces.Dict([("y", Discrete(4)), ("x", Box(-1, 1, (2,)))])))),
        ("m", Discrete(5)),
    ]
)
SPACES = {
    "box": Box(-1.0, 1.0, (3,)),
    "box of rank 0": Box(-1.0, 1.0, ()),
    "box of rank 2": Box(np.array([[-1, -2], [0, 0.1]], np.float32), np.array([[1, 2], [0.3, 5]], np.float32)),
    "float64 box": Box(np.array([-0.1, 0.0]), np.array([0.7, 1e9]), dtype=np.float64),
    "float16 box": Box(-1.0, 1.0, (2,), np.float16),
    "unbounded box": Box(-np.inf, np.inf, (2,)),
    "half-bounded box": Box(np.array([0.0, -np.inf, -1.0]), np.array([np.inf, 2.5, 1.0]), dtype=np.float64),
    "integer box": Box(-5, 5, (2,), np.int64),
    "image": Box(0, 255, (4, 5, 3), np.uint8),
    "discrete": Discrete(4),
    "discrete with start": Discrete(3, start=-7),
    "multi-discrete": MultiDiscrete([2, 5]),
    "multi-discrete with start": MultiDiscrete([2, 3], start=[1, -4]),
    "multi-discrete of rank 2": MultiDiscrete([[2, 3], [4, 5]], start=[[0, 1], [2, 3]]),
    "multi-binary": MultiBinary(3),
    "multi-binary of rank 2": MultiBinary([2, 3]),
    "tuple": gym_spaces.Tuple((Discrete(2, start=1), Box(-1, 1, (2,), np.float64))),
    "tuple of one": gym_spaces.Tuple((Discrete(2),)),
    "nested": NESTED,
}
each_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())


def samples(space, count=16):
    """`count` random values of `space` as a list, and as the batch that a vector environment returns."""
    space.seed(3)
    values = [space.sample() for _ in range(count)]
    return values, concatenate(space, values, create_empty_array(space, count))


def assert_same(left, right):
    """Values of Gymnasium spaces, equal in structure, dtype and number."""
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, tuple):
        assert len(left) == len(right)
        for pair in zip(left, right, strict=True):
            assert_same(*pair)
    else:
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)


def test_nests_have_sorted_keys_whatever_the_order_of_the_space():
    assert list(NESTED.spaces) == ["z", "a", "m"]  # the space itself is invalid
    nest = spaces.map_structure(str, NESTED)
    expected = {
        "a": ("MultiBinary(2)", {"x": "Box(-1.0, 1.0, (2,), float32)", "y": "Discrete(4)"}),
        "m": "Discrete(5)",
        "z": "Discrete(3)",
    }
    assert nest == expected
    assert list(nest) == ["a", "m", "z"]
    assert list(nest["a"][1]) == ["x", "y"]


def test_leaves_and_pairs_have_the_order_of_tensorflow_and_keras():
    x, y = np.zeros(2, np.float32), np.int64(3)
    value = {"z": np.int64(2), "a": (np.array([0, 1], np.int8), {"y": y, "x": x}), "m": np.int64(4)}
    leaves = spaces.leaves(NESTED)
    assert [str(leaf) for leaf in leaves] == [
        "MultiBinary(2)",
        "Box(-1.0, 1.0, (2,), float32)",
        "Discrete(4)",
        "Discrete(5)",
        "Discrete(3)",
    ]
    pairs = list(spaces.pairs(NESTED, value))
    assert [leaf for leaf, _ in pairs] == leaves
    assert [part for _, part in pairs] == [value["a"][0], x, y, value["m"], value["z"]]
    for (_, part), flat in zip(pairs, tf.nest.flatten(value), strict=True):
        assert part is flat
    assert [spec.shape for spec in tf.nest.flatten(spaces.tensor_specs(NESTED))] == [(2,), (2,), (), (), ()]


def test_a_leaf_is_a_nest_of_its_own():
    assert spaces.map_structure(lambda leaf: leaf.n, Discrete(4)) == 4
    assert spaces.leaves(Discrete(4)) == [Discrete(4)]


def test_a_tuple_value_of_another_length_is_refused():
    with pytest.raises(ValueError, match="zip"):
        list(spaces.pairs(SPACES["tuple"], (1, 2, 3)))


def test_map_values_keeps_structure_and_sorts_keys():
    value = collections.OrderedDict(z=1, a=(2, {"y": 3, "x": 4}), m=5)
    doubled = spaces.map_values(lambda x: 2 * x, NESTED, value)
    assert doubled == {"a": (4, {"x": 8, "y": 6}), "m": 10, "z": 2}
    assert list(doubled) == ["a", "m", "z"]


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("box of rank 2", (2, 2), tf.float32),
        ("float64 box", (2,), tf.float32),
        ("float16 box", (2,), tf.float32),
        ("integer box", (2,), tf.int32),
        ("image", (4, 5, 3), tf.uint8),
        ("discrete with start", (), tf.int32),
        ("multi-discrete of rank 2", (2, 2), tf.int32),
        ("multi-binary of rank 2", (2, 3), tf.int32),
    ],
)
def test_tensor_specs(name, shape, dtype):
    assert spaces.tensor_specs(SPACES[name]) == tf.TensorSpec(shape, dtype)


@each_space
def test_encoded_samples_have_the_promised_shapes_and_dtypes(space):
    flat = border.Codec(space).encode(samples(space)[1])
    for array, spec in zip(flat, tf.nest.flatten(spaces.tensor_specs(space)), strict=True):
        assert array.shape == (16, *spec.shape)
        assert array.dtype == spec.dtype.as_numpy_dtype


@each_space
def test_decode_gives_back_what_was_encoded(space):
    values, batch = samples(space)
    decoded = border.Codec(space).decode(border.Codec(space).encode(batch))
    single = spaces.map_values(lambda x: x[5], space, decoded)
    assert space.contains(single)
    for (leaf, part), (_, original) in zip(spaces.pairs(space, single), spaces.pairs(space, values[5]), strict=True):
        assert part.dtype == leaf.dtype
        np.testing.assert_allclose(part, original, rtol=1e-7 if leaf.dtype == np.float64 else 0)
        if not np.issubdtype(leaf.dtype, np.floating):
            np.testing.assert_array_equal(part, original)
    assert_same(border.Codec(space).decode(border.Codec(space).encode(decoded)), decoded)


def test_classes_start_at_zero_inside():
    encoded = border.Codec(Discrete(3, start=-7)).encode(np.array([-7, -6, -5]))
    np.testing.assert_array_equal(encoded, [[0, 1, 2]])
    encoded = border.Codec(MultiDiscrete([2, 3], start=[1, -4])).encode(np.array([[1, -4], [2, -2]]))
    np.testing.assert_array_equal(encoded, [[[0, 0], [1, 2]]])
    assert border.Codec(Discrete(3, start=5)).decode([np.array([0, 2], np.int32)]).tolist() == [5, 7]


def test_real_images_of_bytes_and_small_integers_are_not_shifted_or_scaled():
    np.testing.assert_array_equal(
        border.Codec(Box(10, 20, (1,), np.uint8)).encode(np.array([[10], [20]], np.uint8)), [[[10], [20]]]
    )


def test_encode_names_a_shape_that_does_not_fit():
    with pytest.raises(ValueError, match=r"Expected: \(3,\) \(of Box.*Received: \(2,\)"):
        border.Codec(Box(-1, 1, (3,))).encode(np.zeros((4, 2), np.float32))


# ---- clip ---------------------------------------------------------------------------------------------------------


def test_clip_bounded_half_bounded_and_unbounded_boxes():
    action = tf.constant([[-9.0, -9.0, -9.0], [9.0, 9.0, 9.0], [0.25, 0.5, 0.75]])
    bounded = Box(np.array([-1, -2, -3], np.float32), np.array([1, 2, 3], np.float32))
    np.testing.assert_array_equal(spaces.clip(bounded, action), [[-1, -2, -3], [1, 2, 3], [0.25, 0.5, 0.75]])
    clipped = spaces.clip(SPACES["half-bounded box"], action)
    np.testing.assert_array_equal(clipped, [[0, -9, -1], [9, 2.5, 1], [0.25, 0.5, 0.75]])
    np.testing.assert_array_equal(spaces.clip(Box(-np.inf, 2, (3,)), action)[:, 0], [-9, 2, 0.25])
    np.testing.assert_array_equal(spaces.clip(Box(-2, np.inf, (3,)), action)[:, 0], [-2, 9, 0.25])
    assert spaces.clip(Box(-np.inf, np.inf, (3,)), action) is action


def test_clip_leaves_everything_else_alone_and_keeps_the_structure():
    space = gym_spaces.Dict({"b": gym_spaces.Tuple((Box(0, 1, (1,)), Discrete(9))), "a": MultiBinary(2)})
    action = {"a": tf.constant([[0, 1]]), "b": (tf.constant([[3.0]]), tf.constant([8]))}
    clipped = spaces.clip(space, action)
    assert clipped["a"] is action["a"]
    assert clipped["b"][1] is action["b"][1]
    assert clipped["b"][0].numpy().tolist() == [[1.0]]
    assert isinstance(clipped["b"], tuple)


def test_clip_compiles():
    space = SPACES["half-bounded box"]
    compiled = tf.function(lambda x: spaces.clip(space, x), jit_compile=True)
    np.testing.assert_array_equal(compiled(tf.fill((1, 3), -9.0)), [[0, -9, -1]])


@pytest.mark.parametrize("value", [-9.0, 9.0])
def test_clipped_actions_lie_in_a_float64_box_whose_bounds_float32_cannot_hold(value):
    space = Box(np.array([-0.1, 0.3]), np.array([0.1, 0.7]), dtype=np.float64)
    action = spaces.clip(space, tf.fill((1, 2), value))
    assert space.contains(border.Codec(space).decode([action.numpy()])[0])


# ---- serialize ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "space",
    [
        *SPACES.values(),
        Discrete(3, dtype=np.int32),
        MultiDiscrete([2, 3], dtype=np.int32),
        Box(-(2**62), 2**62, (1,), np.int64),
        Box(np.float32(0.1), np.float32(0.3), (2,)),
        Box(-np.inf, np.array([1.0, np.inf], np.float32), (2,)),
        gym_spaces.Dict({"inner": gym_spaces.Dict({"unbounded": Box(-np.inf, np.inf, (2, 2))})}),
    ],
    ids=str,
)
def test_serialized_spaces_survive_json(space):
    text = json.dumps(spaces.serialize(space), allow_nan=False)
    again = spaces.deserialize(json.loads(text))
    assert again == space
    for leaf, same in zip(spaces.leaves(space), spaces.leaves(again), strict=True):
        assert leaf.dtype == same.dtype
        if isinstance(leaf, Box):  # Gymnasium compares bounds with a tolerance
            np.testing.assert_array_equal(leaf.low, same.low)
            np.testing.assert_array_equal(leaf.high, same.high)
            np.testing.assert_array_equal(leaf.bounded_below, same.bounded_below)
            np.testing.assert_array_equal(leaf.bounded_above, same.bounded_above)


def test_equal_bounds_are_stored_once():
    assert spaces.serialize(SPACES["image"]) == {
        "type": "Box",
        "shape": [4, 5, 3],
        "dtype": "uint8",
        "low": 0,
        "high": 255,
    }


# ---- check_supported ----------------------------------------------------------------------------------------------


@each_space
def test_supported_spaces(space):
    spaces.check_supported(space, "action_space")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (gym_spaces.Text(5), r"`here` must be made of Box, Discrete.*Received: here=Text.*which contains Text"),
        (gym_spaces.Dict({"a": Discrete(2), "b": gym_spaces.Sequence(Discrete(2))}), r"which contains Sequence"),
        (gym_spaces.Tuple((gym_spaces.Graph(Discrete(2), None),)), r"which contains Graph"),
        (gym_spaces.OneOf((Discrete(2), Discrete(3))), r"which contains OneOf"),
        (gym_spaces.Dict({}), r"`here` must have at least one component. Received: here=Dict\(\)"),
        (gym_spaces.Tuple(()), r"`here` must have at least one component. Received: here=Tuple\(\)"),
    ],
    ids=str,
)
def test_unsupported_spaces(space, message):
    with pytest.raises(ValueError, match=message):
        spaces.check_supported(space, "here")


def test_leaf_names_tell_where_each_leaf_is():
    arm = gym_spaces.Tuple((gym_spaces.Discrete(2), gym_spaces.Box(-1, 1, (3,))))
    assert spaces.leaf_names(gym_spaces.Dict({"tool": gym_spaces.Discrete(4), "arm": arm})) == [
        "arm_0",
        "arm_1",
        "tool",
    ]
    assert spaces.leaf_names(gym_spaces.Discrete(3)) == [""]


@pytest.mark.parametrize("config", [{"type": "Graph", "shape": [4]}, {}])
def test_what_is_no_space_is_not_taken_for_one(config):
    with pytest.raises(ValueError, match=r"must be the name of a supported space\. Received: type="):
        spaces.deserialize(config)


# ---- sample -------------------------------------------------------------------------------------------------------


def drawn(space, rows=20_000, seed=3):
    return tf.nest.map_structure(lambda x: x.numpy(), spaces.sample(space, rows, tf.constant([seed, 5])))


@each_space
def test_samples_are_elements_of_the_space(space):
    values = drawn(space, 50)
    for spec, x in zip(tf.nest.flatten(spaces.tensor_specs(space)), tf.nest.flatten(values), strict=True):
        assert (x.dtype, x.shape) == (spec.dtype.as_numpy_dtype, (50, *spec.shape))
    decoded = border.Codec(space).decode(tf.nest.flatten(values))
    assert all(space.contains(spaces.map_values(lambda x, i=i: x[i], space, decoded)) for i in range(50))


@pytest.mark.parametrize(
    "space", [Box(-2, 3, (2,), np.int64), Box(253, 255, (2,), np.uint8), Box(-1, 0, (2,), np.int8)], ids=str
)
def test_integers_between_bounds_come_equally_often_both_bounds_included(space):
    values = drawn(space)
    low, high = int(space.low[0]), int(space.high[0])
    for column in values.T:
        found, counts = np.unique(column, return_counts=True)
        np.testing.assert_array_equal(found, np.arange(low, high + 1))
        np.testing.assert_allclose(counts / 20_000, 1 / len(found), atol=0.016)


def test_what_is_bounded_is_uniform_and_what_is_not_is_normal():
    space = Box(np.array([-4.0, -np.inf, 0.0, -np.inf]), np.array([2.0, np.inf, np.inf, 1.5]), dtype=np.float64)
    uniform, normal, positive, below = drawn(space).T
    np.testing.assert_allclose(np.quantile(uniform, [0, 0.25, 0.5, 0.75, 1]), [-4, -2.5, -1, 0.5, 2], atol=0.1)
    np.testing.assert_allclose(np.quantile(normal, [0.16, 0.5, 0.84]), [-1, 0, 1], atol=0.05)
    assert positive.min() == 0.0
    assert positive.max() > 3.0
    assert below.max() == 1.5
    assert below.min() < -3.0


def test_a_width_that_float32_cannot_hold_counts_as_unbounded():
    values = drawn(Box(np.float32(-3e38), np.float32(3e38), (1,)))
    assert np.isfinite(values).all()
    assert values.std() == pytest.approx(1.0, abs=0.05)


def test_leaves_of_the_same_kind_are_drawn_apart_and_seeds_too():
    one, other = drawn(gym_spaces.Tuple((Discrete(4), Discrete(4))))
    assert np.mean(one == other) == pytest.approx(0.25, abs=0.02)
    assert np.mean(drawn(Discrete(4), seed=8) == drawn(Discrete(4))) == pytest.approx(0.25, abs=0.02)


@each_space
def test_elements_of_a_space_are_no_misfits(space):
    value = space.sample()
    assert border.misfit(space, value) is None
    assert border.misfit(space, value, exact=True) is None
    assert "must" in border.misfit(space, "nothing")


@pytest.mark.parametrize(
    ("space", "value", "lenient", "exact"),
    [
        (Box(-1.0, 1.0, (2,)), np.float64([0, 0]), None, "must have the dtype float32. Received: float64"),
        (Box(-1.0, 1.0, (2,)), [0.0, 0.0], None, "must have the dtype float32. Received: list"),
        (Box(-1.0, 1.0, (2,)), np.float32([0, 2]), None, "must be in [-1.0, 1.0] at [1]. Received: 2.0"),
        (Box(-1.0, 1.0, ()), np.float32(np.nan), None, "must be in [-1.0, 1.0]. Received: nan"),
        (Discrete(3), np.int8(2), None, None),
        (Discrete(3), 3, None, "must be in Discrete(3). Received: 3"),
        (MultiBinary(2), np.array([True, False]), None, "must have the dtype int8. Received: bool"),
    ],
    ids=str,
)
def test_misfits_that_a_batch_would_convert_are_only_exactly_misfits(space, value, lenient, exact):
    assert border.misfit(space, value) is lenient
    assert border.misfit(space, value, exact=True) == (exact and f"The observation {exact}")
