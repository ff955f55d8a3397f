"""`NormalizeRange`: which components are mapped, to what, and in which dtype."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Tuple
from scripts import Script

from keras_rl_prob.envs import NormalizeRange
from keras_rl_prob.envs import make as make_batch

INF = np.inf
LARGEST = float(np.finfo(np.float32).max)


def box(low, high, dtype=np.float32):
    return Box(np.array(low, dtype), np.array(high, dtype), dtype=dtype)


def normalized(space, *observations):
    env = NormalizeRange(Script(space, [list(observations)]))
    return env, [env.reset()[0], *(env.step(0)[0] for _ in observations[1:])]


def test_bounds_map_to_1_and_the_rest_in_proportion():
    space = box([0, -2, 100], [10, 6, 300])
    rows = np.array([[0, -2, 100], [10, 6, 300], [2.5, 0, 250]], np.float32)
    env, seen = normalized(space, *rows)
    # 2 * 2.5 / 10 - 1, 2 * 2 / 8 - 1, 2 * 150 / 200 - 1
    np.testing.assert_array_equal(seen, [[-1, -1, -1], [1, 1, 1], [-0.5, -0.5, 0.5]])
    assert env.observation_space == Box(-1, 1, (3,), np.float32)


def test_components_without_two_bounds_stay():
    low, high = [-INF, 0, -INF, -LARGEST, 0, 3, -4], [INF, INF, 9, LARGEST, LARGEST, 3, 4]
    observation = np.array([50, 50, -50, 50, 50, 3, 2], np.float32)
    env, seen = normalized(box(low, high), observation)
    np.testing.assert_array_equal(seen[0], [50, 50, -50, 50, 50, 3, 0.5])
    assert env.observation_space == box([*low[:6], -1], [*high[:6], 1])
    assert env.observation_space.contains(seen[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_real_numbers_keep_their_dtype(dtype):
    generator = np.random.default_rng(0)
    low, high = -generator.uniform(0, 5, 50), generator.uniform(0, 7, 50)
    space = box(low, high, dtype)
    rows = [space.low, space.high, *(generator.uniform(space.low, space.high).astype(dtype) for _ in range(20))]
    env, seen = normalized(space, *rows)
    assert all(x.dtype == dtype and env.observation_space.contains(x) for x in seen)
    theirs = gymnasium.wrappers.RescaleObservation(env.env, np.full(50, -1, dtype), np.full(50, 1, dtype))
    np.testing.assert_allclose(seen[5:], [theirs.observation(row) for row in rows[5:]], atol=1e-5)


def test_integers_become_float32():
    env, seen = normalized(box([0, -100], [4, 100], np.int64), np.array([1, 50]))
    assert (seen[0].tolist(), seen[0].dtype) == ([-0.5, 0.5], np.float32)
    assert env.observation_space == Box(-1, 1, (2,), np.float32)


def test_integers_without_bounds_are_known_as_such():
    space = Box(np.array([-INF, 0]), np.array([INF, 4]), dtype=np.int32)
    env, seen = normalized(space, np.array([7, 4], np.int32))
    np.testing.assert_array_equal(seen[0], [7, 1])
    assert env.observation_space == box([-INF, -1], [INF, 1])


def test_scalars():
    env, seen = normalized(Box(0, 8, (), np.float32), np.array(2, np.float32))
    assert env.observation_space == Box(-1, 1, (), np.float32)
    assert isinstance(seen[0], np.ndarray)
    assert seen[0] == -0.5


NESTED = Dict(
    {
        "tool": Tuple([box([0], [8]), Discrete(3)]),
        "image": Box(0, 255, (2, 2), np.uint8),
        "arm": box([-1, -INF], [3, INF]),
    }
)
ELEMENT = {
    "tool": (np.array([2], np.float32), np.int64(2)),
    "image": np.full((2, 2), 200, np.uint8),
    "arm": np.array([0, 5], np.float32),
}


def test_nested_spaces_and_bytes():
    env, seen = normalized(NESTED, ELEMENT)
    expected = {
        "tool": Tuple([Box(-1, 1, (1,)), Discrete(3)]),
        "image": NESTED["image"],
        "arm": box([-1, -INF], [1, INF]),
    }
    assert env.observation_space == Dict(expected)
    assert env.observation_space.contains(seen[0])
    np.testing.assert_array_equal(seen[0]["arm"], [-0.5, 5])
    np.testing.assert_array_equal(seen[0]["tool"][0], [-0.5])
    assert seen[0]["tool"][1] == 2
    np.testing.assert_array_equal(seen[0]["image"], ELEMENT["image"])


def test_nested_spaces_reach_the_agent():
    made = make_batch(lambda: NormalizeRange(Script(NESTED, [[ELEMENT] * 3])), 2)
    _, row = made.reset(np.array([0, 1], np.int32))
    np.testing.assert_array_equal(row.observation["arm"], [[-0.5, 5]] * 2)
    np.testing.assert_array_equal(row.observation["image"], [ELEMENT["image"]] * 2)


@pytest.mark.parametrize(
    "space", [box([-INF, 0], [INF, INF]), Discrete(4), Box(0, 255, (4, 4, 3), np.uint8), Box(0, 1, (2,), np.bool_)]
)
def test_nothing_to_normalise(space):
    with pytest.raises(
        ValueError, match=r"two bounds.*`normalize_observations=True`.*Received: env.observation_space="
    ):
        NormalizeRange(Script(space, []))
