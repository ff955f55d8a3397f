"""`ScriptedEnv`, which other tests rely on, follows its script."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from keras_rl_prob.testing import ScriptedEnv


def test_two_scripted_episodes_and_the_script_again():
    env = ScriptedEnv(4, [(2, "terminated"), (1, "truncated")])
    rows = []
    for _ in range(3):
        observation, info = env.reset()
        rows.append(observation.tolist())
        assert info == {}
        done = False
        while not done:
            observation, reward, terminated, truncated, _ = env.step(0)
            rows.append((observation.tolist(), reward, terminated, truncated))
            done = terminated or truncated
    assert rows == [
        [4, 0, 0],
        ([4, 0, 1], 1, False, False),
        ([4, 0, 2], 2, True, False),
        [4, 1, 0],
        ([4, 1, 1], 11, False, True),
        [4, 2, 0],
        ([4, 2, 1], 21, False, False),
        ([4, 2, 2], 22, True, False),
    ]


def test_resetting_early_goes_to_the_next_episode():
    env = ScriptedEnv(0, [(9, "terminated"), (1, "truncated")])
    env.reset()
    env.step(1)
    assert env.reset()[0].tolist() == [0, 1, 0]
    assert env.step(1)[3]


@pytest.mark.parametrize(
    "action_space",
    [None, gymnasium.spaces.Tuple((gymnasium.spaces.Discrete(3), gymnasium.spaces.Box(-1, 1, (2,))))],
    ids=["default", "Tuple"],
)
def test_actions_are_kept_and_change_nothing(action_space):
    env, other = (ScriptedEnv(1, [(3, "truncated")], action_space) for _ in range(2))
    assert env.action_space == (action_space or gymnasium.spaces.Discrete(2))
    env.reset()
    other.reset()
    actions = [env.action_space.sample() for _ in range(3)]
    for action in actions:
        row, same = env.step(action), other.step(actions[0])
        np.testing.assert_array_equal(row[0], same[0])
        assert row[1:] == same[1:]
    assert all(kept is action for kept, action in zip(env.actions, actions, strict=True))


def test_observations_are_in_the_space_and_not_reused():
    env = ScriptedEnv(1, [(3, "truncated")])
    first, _ = env.reset()
    second, *_ = env.step(0)
    assert env.observation_space.contains(first)
    assert env.observation_space.contains(second)
    assert (first[2], second[2]) == (0, 1)


@pytest.mark.filterwarnings("ignore::UserWarning")  # the checker warns that observations are unbounded, and so on
def test_two_environments_pass_the_checker():
    check_env(Repeating(), skip_render_check=True)


class Repeating(ScriptedEnv):
    """The checker wants the same first observation from the same seed; every reset starts the script again."""

    def __init__(self):
        super().__init__(0, [(5, "terminated")])

    def reset(self, *, seed=None, options=None):
        self._episode = -1
        return super().reset(seed=seed, options=options)
