"""`ActionMask`: converts masks in `info`, as in Gymnasium, to masks in observations, as agents take them."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from keras_rl_prob.envs import ActionMask

SHOWN = spaces.Box(-1.0, 1.0, (2,), np.float32)
ARM = spaces.Box(-1.0, 1.0, (2,), np.float32)


class Told(gymnasium.Env):
    """Returns given masks in its info, one for each reset or step; the episode ends with the last."""

    def __init__(self, action_space, *told, observation_space=SHOWN, key="action_mask", truncated=False):
        self.action_space, self.observation_space = action_space, observation_space
        self.told, self.key, self.truncated, self.time = told, key, truncated, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.observe()

    def step(self, action):
        self.time += 1
        observation, info = self.observe()
        over = self.time == len(self.told) - 1
        return observation, 0.0, over and not self.truncated, over and self.truncated, info

    def observe(self):
        told, observation = self.told[self.time], {"x": 3} if isinstance(self.observation_space, spaces.Dict) else 3
        return observation, {} if isinstance(told, str) else {self.key: told, "other": 1}


def bits(*rows):
    return np.array(rows, np.int8)


def first_mask(action_space, told):
    env = ActionMask(Told(action_space, told))
    observation, info = env.reset()
    assert info["action_mask"] is told
    assert env.observation_space["action_mask"].contains(observation["action_mask"])
    return observation["action_mask"]


PAIR, GRID = spaces.MultiDiscrete([2, 3], start=[4, -1]), spaces.MultiDiscrete([[2, 3], [1, 2]])
HYBRID = spaces.Tuple([ARM, spaces.Discrete(3), spaces.Dict({"legs": spaces.Tuple([ARM]), "tool": PAIR})])


@pytest.mark.parametrize(
    ("actions", "told", "expected"),
    [
        (spaces.Discrete(3, start=5), bits(1, 0, 1), [1, 0, 1]),
        (PAIR, (bits(0, 1), bits(1, 0, 1)), [[0, 1, 0], [1, 0, 1]]),
        (GRID, ((bits(0, 1), bits(1, 0, 1)), (bits(1), bits(1, 0))), [[[0, 1, 0], [1, 0, 1]], [[1, 0, 0], [1, 0, 0]]]),
        (spaces.MultiBinary(3), bits(0, 2, 2), [0, 1, 1]),
        (HYBRID, (None, bits(0, 0, 1), {"legs": (None,), "tool": (bits(1, 0), bits(1, 1, 0))}), None),
    ],
    ids=["discrete", "multi-discrete", "grid", "multi-binary", "hybrid"],
)
def test_the_mask_allows_what_gymnasium_would_draw(actions, told, expected):
    mask = first_mask(actions, told)
    if expected is None:
        assert set(mask) == {"1", "2"}
        assert set(mask["2"]) == {"tool"}
        np.testing.assert_array_equal(mask["1"], [0, 0, 1])
        np.testing.assert_array_equal(mask["2"]["tool"], [[1, 0, 0], [1, 1, 0]])
        actions.seed(0)
        assert {action[1] for action in (actions.sample(told) for _ in range(20))} == {2}
        return
    np.testing.assert_array_equal(mask, expected)
    assert mask.dtype == np.int8
    actions.seed(0)
    drawn = np.array([actions.sample(told) for _ in range(100)]) - getattr(actions, "start", 0)
    if isinstance(actions, spaces.MultiBinary):
        np.testing.assert_array_equal(drawn.max(0), mask)
        return
    for entry in np.ndindex(mask.shape):
        assert np.any(drawn[(slice(None), *entry[:-1])] == entry[-1]) == mask[entry]


@pytest.mark.parametrize(
    ("actions", "told", "expected"),
    [
        (spaces.Discrete(3), [True, False, True], [1, 0, 1]),
        (PAIR, [[0, 1], [1, 0, 1]], [[0, 1, 0], [1, 0, 1]]),
        (PAIR, bits([0, 1, 1], [1, 0, 1]), [[0, 1, 0], [1, 0, 1]]),  # padded with any values
        (spaces.MultiBinary(3), np.array([False, True, True]), [0, 1, 1]),
        (
            spaces.Dict({"a": spaces.Discrete(2), "b": PAIR}),
            {"a": bits(0, 1)},
            {"a": [0, 1], "b": [[1, 1, 0], [1, 1, 1]]},
        ),
        (spaces.Tuple([spaces.Discrete(2), PAIR]), (bits(0, 1), None), {"0": [0, 1], "1": [[1, 1, 0], [1, 1, 1]]}),
    ],
    ids=["list", "lists", "padded", "bools", "part of a dict", "part of a tuple"],
)
def test_other_ways_to_say_it(actions, told, expected):
    np.testing.assert_equal(first_mask(actions, told), expected)


@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("last", ["nothing", None, bits(0, 0, 0)], ids=str)
def test_when_the_episode_is_over_everything_is_allowed(last, truncated):
    env = ActionMask(Told(spaces.Discrete(3), bits(1, 0, 1), bits(0, 0, 0), last, truncated=truncated))
    env.reset()
    np.testing.assert_array_equal(env.step(0)[0]["action_mask"], [0, 0, 0])  # not yet; `fit` refuses it
    np.testing.assert_array_equal(env.step(0)[0]["action_mask"], [1, 1, 1])
    np.testing.assert_array_equal(env.reset()[0]["action_mask"], [1, 0, 1])


def test_when_the_episode_is_over_what_allows_something_stays():
    told = (bits(0, 1), bits(0, 0, 0))
    env = ActionMask(Told(PAIR, told, told))
    np.testing.assert_array_equal(env.reset()[0]["action_mask"], [[0, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(env.step(0)[0]["action_mask"], [[0, 1, 0], [1, 1, 1]])


def test_a_dict_gets_a_key_and_the_mask_may_be_called_otherwise():
    inner = Told(spaces.Discrete(2), bits(0, 1), observation_space=spaces.Dict({"x": spaces.Discrete(9)}), key="valid")
    env = ActionMask(inner, key="valid")
    expected = spaces.Dict({"x": spaces.Discrete(9), "action_mask": spaces.MultiBinary(2)})
    assert env.observation_space == expected
    np.testing.assert_equal(env.reset()[0], {"x": 3, "action_mask": bits(0, 1)})


def test_taxi_tells_which_actions_do_something():
    env = ActionMask(gymnasium.make("Taxi-v4"))
    observation, _ = env.reset(seed=3)
    for _ in range(300):
        action = env.action_space.sample(mask=observation["action_mask"])
        before = observation["observation"]
        observation, _, terminated, truncated, info = env.step(action)
        assert env.observation_space.contains(observation)
        np.testing.assert_array_equal(observation["action_mask"], info["action_mask"])
        assert observation["observation"] != before  # the action had an effect
        if terminated or truncated:
            observation, _ = env.reset()


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (lambda: Told(ARM), r"`env` must have actions that can be masked: Discrete.* action_space=Box"),
        (lambda: Told(spaces.Tuple([ARM, ARM])), r"`env` must have actions that can be masked"),
        (
            lambda: ActionMask(Told(spaces.Discrete(2), bits(1, 1))),
            r"`env` must have no 'action_mask' in its observations yet",
        ),
    ],
)
def test_environments_without_anything_to_do(env, message):
    with pytest.raises(ValueError, match=message):
        ActionMask(env())


THREE = spaces.Discrete(3)
WRONG = [
    (THREE, "nothing", r"`info` must have an action mask under the key 'action_mask'. Received: \[\] at step 1 of"),
    (THREE, None, r"`info` must have an action mask under the key 'action_mask'. Received: \['action_mask', 'other'\]"),
    (THREE, bits(1, 0), r"an array of the shape \(3,\). Received: array\(\[1, 0\], dtype=int8\) of the shape \(2,\)"),
    (THREE, 1, r"an array of the shape \(3,\). Received: 1 at step 1 of"),
    (PAIR, (bits(1, 1),), r"masks of 2 components. Received: \(array"),
    (PAIR, 3, r"masks of 2 components. Received: 3"),
    (PAIR, (bits(1, 1), bits(1, 1)), r"at \[1\] an array of the shape \(3,\).* of the shape \(2,\)"),
    (spaces.MultiBinary(2), bits(2), r"an array of the shape \(2,\)"),
    (
        spaces.MultiBinary(2),
        bits(2, 1),
        r"0 where an entry stays 0 and 2 where it is free, for none can be made to stay 1",
    ),
    (spaces.Tuple([THREE, ARM]), (bits(1, 1, 1),), r"a tuple of 2 masks for Tuple"),
    (spaces.Tuple([THREE, ARM]), bits(1, 1, 1), r"a tuple of 2 masks for Tuple"),
    (spaces.Tuple([THREE, ARM]), (None, bits(1, 1)), r"at \[1\] `None`, since nothing of Box.* can be masked"),
    (spaces.Dict({"a": THREE}), (bits(1, 1, 1),), r"a dict with keys among \['a'\]"),
    (spaces.Dict({"a": THREE}), {"b": bits(1, 1, 1)}, r"a dict with keys among \['a'\]"),
    (spaces.Dict({"a": THREE}), {"a": bits(1)}, r"at \['a'\] an array of the shape \(3,\)"),
]


@pytest.mark.parametrize(("actions", "told", "message"), WRONG)
def test_wrong_masks_are_named_with_the_step(actions, told, message):
    right = {"a": None} if isinstance(actions, spaces.Dict) else None
    if isinstance(actions, spaces.Tuple):
        right = (None, None)
    elif right is None:
        right = np.zeros(3) if actions is THREE else np.zeros((2, 3)) if actions is PAIR else np.zeros(2)
    env = ActionMask(Told(actions, right, told, right))
    for _ in range(2):
        env.reset()
        with pytest.raises(ValueError, match=message) as error:
            env.step(0)
    assert "at step 1 of episode 2, from <Told" in str(error.value)
    with pytest.raises(ValueError, match="at step 0 of episode 1"):
        ActionMask(Told(actions, told, right)).reset()
