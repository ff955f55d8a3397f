"""`CheckFinite`: what raises an error, and the error message."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Tuple
from scripts import Script, counting, numbers

from keras_rl_prob.envs import CheckFinite, MaskVelocity
from keras_rl_prob.envs import make as make_batch


def test_finite_numbers_pass_unchanged():
    env, bare = CheckFinite(counting(3)), counting(3)
    assert env.reset() == bare.reset()
    for _ in range(3):
        assert env.step(1) == bare.step(1)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_observation(number):
    rows = [np.zeros((2, 3), np.float32) for _ in range(4)]
    rows[2][1, 2] = number
    env = CheckFinite(Script(Box(-1, 1, (2, 3)), [rows[:2], rows]))
    env.reset()
    env.step(0)
    env.reset()
    env.step(0)
    message = rf"The observation must be finite. Received: {number} in component \[1, 2\] at step 2 of episode 2, "
    with pytest.raises(FloatingPointError, match=message + r"after the action 1, from <Script instance>"):
        env.step(1)


def test_nested_observation_after_the_reset():
    space = Dict({"a": Tuple([Discrete(2), numbers()]), "b": numbers()})
    element = {"a": (1, np.array([np.nan], np.float32)), "b": np.zeros(1, np.float32)}
    env = CheckFinite(Script(space, [[element]]))
    message = (
        r"The observation 'a_1' must be .*nan in component \[0\] at step 0 of episode 1, after the reset, from <Script"
    )
    with pytest.raises(FloatingPointError, match=message):
        env.reset()


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_reward(number):
    env = CheckFinite(counting(4, rewards=[1.0, 2, number, 1.0]))
    env.reset()
    assert [env.step(0)[1] for _ in range(2)] == [1.0, 2]
    message = rf"The reward must be finite. Received: {number} at step 3 of episode 1, after the action 2, from <Script"
    with pytest.raises(FloatingPointError, match=message):
        env.step(2)


def test_registered_environments_are_named():
    env = CheckFinite(gymnasium.wrappers.TransformReward(gymnasium.make("CartPole-v1"), lambda reward: np.nan))
    env.reset(seed=0)
    with pytest.raises(FloatingPointError, match=r"from <TransformReward<.*CartPole-v1"):
        env.step(0)


def test_it_finds_what_another_wrapper_hides():
    def hiding(env):
        return gymnasium.wrappers.TransformObservation(env, np.nan_to_num, env.observation_space)

    env = Script(numbers(), [[np.array([x], np.float32) for x in (0, np.nan, 1)]])
    made = make_batch(hiding(CheckFinite(env)))
    state, _ = made.reset(np.array([0, 1], np.int32))
    with pytest.raises(FloatingPointError, match="nan"):
        made.step(state, np.zeros(1, np.int32))


def test_masked_velocities_are_0_also_where_they_are_not_finite():
    class Fast(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            return np.array([1.0, np.inf], np.float32), {}

    observation, _ = MaskVelocity(Fast(), mask=[1, 0]).reset()
    assert (observation.tolist(), observation.dtype) == ([1.0, 0.0], np.float32)
