"""The previous action and reward as parts of observations."""

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from keras_rl_prob import masks
from keras_rl_prob.envs import GymnasiumEnv, make, with_previous_step
from keras_rl_prob.envs.previous_step import PreviousStep
from keras_rl_prob.python_calls import raising_as_itself
from keras_rl_prob.testing import ScriptedEnv

ACTIONS = spaces.Dict({"move": spaces.Box(-1.0, 1.0, (2,)), "tool": spaces.Discrete(3, start=-7)})
SCRIPTS = [(3, "terminated"), (1, "truncated"), (2, "truncated")], [(2, "truncated"), (4, "terminated")]


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_observations_have_the_action_and_the_reward_before_them(mode):
    """The reward before an observation of `ScriptedEnv` can be calculated from it; the actions are known."""
    makers = [lambda i=i, script=script: ScriptedEnv(i, script, ACTIONS) for i, script in enumerate(SCRIPTS)]
    env = PreviousStep(GymnasiumEnv(SyncVectorEnv(makers, autoreset_mode=mode)))
    specs = tf.nest.map_structure(lambda x: (x.shape[1:], x.dtype), env.reset(tf.constant([1, 2]))[1].observation)
    rng, finals = np.random.default_rng(0), 0
    with raising_as_itself():
        state, step = env.reset(tf.constant([1, 2]))
        actions = {"move": np.zeros((2, 2), np.float32), "tool": np.zeros(2, np.int32)}
        for _ in range(12):
            seen = tf.nest.map_structure(np.array, step.observation)
            assert tf.nest.map_structure(lambda x: (x.shape[1:], tf.as_dtype(x.dtype)), seen) == specs
            starts = seen["observation"][:, 2] == 0
            np.testing.assert_array_equal(starts, step.is_first)
            rewards = np.where(starts, 0.0, seen["observation"] @ [0.0, 10.0, 1.0])
            np.testing.assert_array_equal(seen["previous_reward"], rewards[:, None])
            for name, action in actions.items():
                shown = np.where(starts.reshape(-1, *[1] * (action.ndim - 1)), 0, action)
                np.testing.assert_array_equal(seen["previous_action"][name], shown)
            if mode is AutoresetMode.SAME_STEP:
                final = tf.nest.map_structure(np.array, step.final_observation)
                for i in np.flatnonzero(step.is_last):
                    finals += 1
                    assert final["previous_reward"][i] == final["observation"][i] @ [0.0, 10.0, 1.0] != 0
                    np.testing.assert_array_equal(final["previous_action"]["move"][i], actions["move"][i])
                    assert final["previous_action"]["tool"][i] == actions["tool"][i]
            else:
                assert step.final_observation == ()
            actions = {
                "move": rng.uniform(-1, 1, (2, 2)).astype(np.float32),
                "tool": rng.integers(1, 3, 2).astype(np.int32),
            }
            state, step = env.step(state, tf.nest.map_structure(tf.constant, actions))
    assert finals > 3 or mode is AutoresetMode.NEXT_STEP


def test_native_environments_stay_compilable():
    env = PreviousStep(make("tf/CartPole-v1", 2))

    @tf.function(jit_compile=True)
    def rolled():
        state, _ = env.reset(tf.constant([0, 1]))
        return env.step(state, tf.constant([1, 0]))[1].observation

    seen = rolled()
    assert env.compilable
    assert seen["previous_action"].numpy().tolist() == [1, 0]
    assert seen["previous_reward"].numpy().tolist() == [[1.0], [1.0]]


def test_signatures_tell_environments_with_and_without_apart():
    env, other = make("tf/CartPole-v1", 2), make("tf/CartPole-v1", 2)
    assert PreviousStep(env).signature == PreviousStep(other).signature != env.signature


def test_components_of_a_dict_stay_and_a_mask_is_still_one():
    action_space = spaces.Discrete(3)
    space = spaces.Dict({"x": spaces.Box(0, 1, (2,)), "action_mask": spaces.MultiBinary(3)})
    extended, same = with_previous_step((space, action_space))
    assert list(extended) == ["action_mask", "previous_action", "previous_reward", "x"]
    assert same is action_space
    assert masks.places(extended, action_space)


def test_a_component_of_that_name_is_rejected():
    space = spaces.Dict({"x": spaces.Box(0, 1, (2,)), "previous_reward": spaces.Box(0, 1, (1,))})
    with pytest.raises(ValueError, match=r"must not have a component 'previous_reward'.*previous_action_and_reward"):
        with_previous_step((space, spaces.Discrete(2)))


def test_environments_are_closed():
    inner = gymnasium.make("CartPole-v1")
    env = PreviousStep(GymnasiumEnv(SyncVectorEnv([lambda: inner])))
    env.close()
    assert env.env.vector_env.closed
