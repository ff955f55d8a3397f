"""`FrameDelta` and `FrameHistory` on scripted observations."""

import gymnasium
import numpy as np
import pytest
from scripts import Script, counting, shown

from keras_rl_prob.envs import FrameDelta, FrameHistory
from keras_rl_prob.envs import make as make_batch

Box = gymnasium.spaces.Box


def script(space, *episodes):
    return Script(space, [[np.array(x, space.dtype) for x in episode] for episode in episodes])


def test_delta_shows_changes_and_first_observations_as_they_are():
    space = Box(-np.inf, np.inf, (2,), np.float64)
    env = FrameDelta(script(space, [[1, 5], [3, 4], [3, 0.5]], [[7, 7], [6, 8]]))
    np.testing.assert_array_equal(shown(env, 2), [[1, 5], [2, -1], [0, -3.5]])
    np.testing.assert_array_equal(shown(env, 1), [[7, 7], [-1, 1]])  # not the change from the episode before
    assert env.observation_space == space


def test_delta_of_bytes_does_not_wrap_around():
    env = FrameDelta(script(Box(0, 255, (1,), np.uint8), [[10], [255], [0], [200]]))
    assert env.observation_space == Box(-255, 255, (1,), np.int16)
    changes = shown(env, 3)
    assert (changes.tolist(), changes.dtype) == ([[10], [245], [-255], [200]], np.int16)


@pytest.mark.parametrize(
    ("dtype", "low", "high", "expected"),
    [
        (np.bool_, 0, 1, np.int16),
        (np.int8, -128, 127, np.int16),
        (np.uint16, 0, 65535, np.int32),
        (np.int32, -(2**31), 2**31 - 1, np.int64),
        (np.int64, -5, 10, np.int64),
        (np.uint64, 0, 2**63 - 1, np.int64),
        (np.float32, -5, 10, np.float32),
    ],
)
def test_delta_holds_the_widest_swing_of_every_dtype(dtype, low, high, expected):
    env = FrameDelta(script(Box(low, high, (1,), dtype), [[low], [high], [low]]))
    width = high - low
    assert env.observation_space == Box(-width, width, (1,), expected)
    observations = [env.reset()[0], env.step(0)[0], env.step(0)[0]]
    assert [x.tolist() for x in observations] == [[low], [width], [-width]]
    assert all(env.observation_space.contains(x) for x in observations)


def test_delta_space_has_room_for_first_observations_far_from_0():
    low, high = np.array([5, -9, -1], np.float32), np.array([6, -7, 1], np.float32)
    env = FrameDelta(script(Box(low, high), [[6, -9, 1]]))
    np.testing.assert_array_equal(env.observation_space.low, [-1, -9, -2])
    np.testing.assert_array_equal(env.observation_space.high, [6, 2, 2])
    assert env.observation_space.contains(env.reset()[0])


def test_delta_of_bounds_that_are_none():
    largest = float(np.finfo(np.float32).max)
    for bound in (np.inf, largest):
        env = FrameDelta(script(Box(-bound, bound, (1,), np.float32), [[0]]))
        assert env.observation_space == Box(-np.inf, np.inf, (1,), np.float32)


def test_delta_keeps_its_own_copies():
    class Buffer(gymnasium.Env):
        observation_space, action_space = Box(0, 9, (1,)), gymnasium.spaces.Discrete(1)
        frame = np.zeros(1, np.float32)

        def reset(self, *, seed=None, options=None):
            self.frame[:] = 2
            return self.frame, {}

        def step(self, action):
            self.frame += 3
            return self.frame, 0.0, False, False, {}

    np.testing.assert_array_equal(shown(FrameDelta(Buffer()), 2), [[2], [3], [3]])
    np.testing.assert_array_equal(shown(FrameHistory(Buffer(), (1, 0)), 2)[..., 0], [[2, 2], [2, 5], [5, 8]])


def test_deltas_of_scalars_are_arrays():
    env = FrameDelta(script(Box(0, 9, (), np.float32), [3, 5]))
    assert env.observation_space == Box(-9, 9, (), np.float32)
    assert [isinstance(x, np.ndarray) and float(x) for x in (env.reset()[0], env.step(0)[0])] == [3.0, 2.0]


def test_deltas_reach_the_agent_with_their_sign():
    frames = Box(0, 255, (1,), np.uint8)
    made = make_batch(lambda: FrameDelta(script(frames, [[250], [0], [1]])), 2)
    state, row = made.reset(np.array([0, 1], np.int32))
    rows = [row.observation.numpy().tolist()]
    for _ in range(2):
        state, row = made.step(state, np.zeros(2, np.int32))
        rows.append(row.observation.numpy().tolist())
    assert rows == [[[250], [250]], [[-250], [-250]], [[1], [1]]]


def test_history_with_gaps():
    env = FrameHistory(counting(6, 6), past_indices=(0, 2, 5))
    expected = [[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 1, 0], [4, 2, 0], [5, 3, 0], [6, 4, 1]]
    np.testing.assert_array_equal(shown(env, 6)[..., 0], expected)


def test_history_starts_with_the_first_observation_of_each_episode():
    env = FrameHistory(script(Box(0, 99, (1,), np.uint8), [[1], [2], [3]], [[50], [60]]), past_indices=[2, 1, 0])
    np.testing.assert_array_equal(shown(env, 2)[..., 0], [[1, 1, 1], [1, 1, 2], [1, 2, 3]])
    later = shown(env, 1)
    np.testing.assert_array_equal(later[..., 0], [[50, 50, 50], [50, 50, 60]])
    assert later.dtype == np.uint8


@pytest.mark.parametrize(
    ("axis", "shape"), [(0, (3, 4, 5)), (1, (4, 3, 5)), (2, (4, 5, 3)), (-1, (4, 5, 3)), (-3, (3, 4, 5))]
)
def test_history_stacks_on_any_axis(axis, shape):
    low = np.arange(20, dtype=np.uint8).reshape(4, 5)
    frames = [low + step for step in range(4)]
    env = FrameHistory(script(Box(low, low + 200, dtype=np.uint8), frames), (3, 1, 0), axis)
    assert env.observation_space.shape == shape
    last = [env.reset()[0], *(env.step(0)[0] for _ in range(3))][-1]
    assert env.observation_space.contains(last)
    for position, index in enumerate((3, 1, 0)):
        np.testing.assert_array_equal(last.take(position, axis), frames[3 - index])
        np.testing.assert_array_equal(env.observation_space.low.take(position, axis), low)
        np.testing.assert_array_equal(env.observation_space.high.take(position, axis), low + 200)


def test_history_without_gaps_is_gymnasiums_stack():
    ours = FrameHistory(gymnasium.make("CartPole-v1"), (3, 2, 1, 0))
    theirs = gymnasium.wrappers.FrameStackObservation(gymnasium.make("CartPole-v1"), 4)
    assert ours.observation_space == theirs.observation_space
    np.testing.assert_array_equal(ours.reset(seed=1)[0], theirs.reset(seed=1)[0])
    for action in (1, 0, 1, 1, 0, 0):
        np.testing.assert_array_equal(ours.step(action)[0], theirs.step(action)[0])


def test_history_in_one_row():
    env = gymnasium.wrappers.FlattenObservation(FrameHistory(gymnasium.make("MountainCar-v0"), (4, 0)))
    first = env.reset(seed=0)[0]
    second = env.step(2)[0]
    np.testing.assert_array_equal(second[:2], first[2:])
    assert env.observation_space.contains(second)
    assert second[3] != first[3]


def test_what_history_shows_is_not_shared():
    env = FrameHistory(counting(3), (1, 0))
    first, _ = env.reset()
    first[:] = 77
    np.testing.assert_array_equal(env.step(0)[0][:, 0], [0, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"past_indices": (1, 2)}, r"`past_indices` must be different .*with 0.*Received: past_indices=\(1, 2\)"),
        ({"past_indices": ()}, r"`past_indices` must be .*Received: past_indices=\(\)"),
        ({"past_indices": 4}, r"`past_indices` must be .*Received: past_indices=4"),
        ({"past_indices": (0, -1)}, r"`past_indices` must be .*Received: past_indices=\(0, -1\)"),
        ({"past_indices": (0, 1.5)}, r"`past_indices` must be .*Received: past_indices=\(0, 1.5\)"),
        ({"past_indices": (False, 1)}, r"`past_indices` must be .*Received: past_indices=\(False, 1\)"),
        ({"past_indices": (0, 1, 1)}, r"`past_indices` must be different .*Received: past_indices=\(0, 1, 1\)"),
        ({"past_indices": (0,), "axis": 2}, r"`axis` must be an integer from -2 to 1 .*\(1,\).*Received: axis=2"),
        ({"past_indices": (0,), "axis": -3}, r"`axis` must be an integer from -2 to 1 .*Received: axis=-3"),
        ({"past_indices": (0,), "axis": None}, r"`axis` must be an integer .*Received: axis=None"),
    ],
)
def test_errors_of_history(arguments, message):
    with pytest.raises(ValueError, match=message):
        FrameHistory(counting(1), **arguments)


@pytest.mark.parametrize("wrap", [FrameDelta, lambda env: FrameHistory(env, (0, 1))])
def test_only_boxes(wrap):
    with pytest.raises(
        ValueError, match=r"`env` must have Box observations. Received: env=.* observation_space=Discrete"
    ):
        wrap(gymnasium.make("FrozenLake-v1"))


@pytest.mark.parametrize(("dtype", "low", "high"), [(np.int64, -(2**62), 2**62), (np.uint64, 2**63, 2**63 + 1)])
def test_differences_too_large_for_64_bits(dtype, low, high):
    space = Box(np.array([low], dtype), np.array([high], dtype), dtype=dtype)
    with pytest.raises(ValueError, match=r"`env` must have .* fit into 64 bits. Received: env.observation_space=Box"):
        FrameDelta(Script(space, []))
