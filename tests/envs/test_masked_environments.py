"""`GymnasiumEnv` with masks in observations: each must allow an action until the episode ends."""

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import keras_rl_prob as krp
from keras_rl_prob.envs import GymnasiumEnv
from keras_rl_prob.python_calls import raising_as_itself

SOME, NONE = (0, 1, 0), (0, 0, 0)


class Shown(gymnasium.Env):
    """Observations are given masks, episode by episode; the last one of each is that of its final observation."""

    def __init__(self, *episodes, action_space=None, end="truncated"):
        self.action_space = action_space or spaces.Discrete(3)
        shape = np.shape(episodes[0][0])
        mask = spaces.MultiBinary(shape[0] if len(shape) == 1 else shape)
        self.observation_space = spaces.Dict({"action_mask": mask, "x": spaces.Box(-1, 1, (1,))})
        self.episodes, self.end, self.episode = episodes, end, -1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.time = self.episode + 1, 0
        return self.observe(), {}

    def step(self, action):
        self.time += 1
        over = self.time == len(self.script) - 1
        return self.observe(), 0.0, over and self.end == "terminated", over and self.end == "truncated", {}

    @property
    def script(self):
        return self.episodes[self.episode % len(self.episodes)]

    def observe(self):
        return {"action_mask": np.array(self.script[self.time], np.int8), "x": np.zeros(1, np.float32)}


def played(makers, steps, mode=AutoresetMode.NEXT_STEP, kind=SyncVectorEnv):
    """Resets and takes steps in a graph; errors are raised unchanged."""
    env = GymnasiumEnv(kind(makers, autoreset_mode=mode))
    actions = tf.nest.map_structure(lambda x: tf.constant(x), env.vector_env.action_space.sample())
    reset, step = tf.function(env.reset, autograph=False), tf.function(env.step, autograph=False)
    rows = []
    try:
        with raising_as_itself():
            state, row = reset(tf.constant([0, 0]))
            for _ in range(steps):
                rows.append(row.observation["action_mask"].numpy())
                state, row = step(state, actions)
    finally:
        env.close()
    return np.array([*rows, row.observation["action_mask"].numpy()])


@pytest.mark.parametrize("end", ["terminated", "truncated"])
@pytest.mark.parametrize("mode", AutoresetMode, ids=str)
def test_the_final_observation_may_allow_nothing(mode, end):
    makers = [lambda: Shown([SOME, SOME, NONE], end=end), lambda: Shown([SOME, SOME, SOME, NONE], end=end)]
    masks = played(makers, 9, mode)
    assert masks.shape == (10, 2, 3)
    assert masks.any(-1).all() == (mode is not AutoresetMode.NEXT_STEP)


@pytest.mark.parametrize("mode", AutoresetMode, ids=str)
def test_a_mask_that_allows_nothing_is_named(mode):
    """In environment 1, at the second step of its second episode."""
    row = 5 if mode is AutoresetMode.NEXT_STEP else 4  # where the reset is a separate step
    long = [SOME] * 20
    makers = [lambda: Shown(long), lambda: Shown([SOME, SOME, NONE], [SOME, SOME, NONE, SOME]), lambda: Shown(long)]
    message = (
        r"The action mask must allow an action as long as an episode lasts. Received: action_mask=\[0, 0, 0\] in "
        rf"environment 1 at step {row}(?!\d)"
    )
    with pytest.raises(ValueError, match=message) as error:
        played(makers, 12, mode)
    assert f"at step {row} of this run" in error.value.__notes__[0]


@pytest.mark.parametrize("mode", AutoresetMode, ids=str)
def test_the_first_observation_of_an_episode_must_allow_something(mode):
    with pytest.raises(ValueError, match=r"Received: action_mask=\[0, 0, 0\] in environment 2 at step 0"):
        played([lambda: Shown([SOME] * 9)] * 2 + [lambda: Shown([NONE, SOME])], 1, mode)
    row = 2 if mode is AutoresetMode.NEXT_STEP else 1
    with pytest.raises(ValueError, match=rf"in environment 0 at step {row}"):
        played([lambda: Shown([SOME, NONE], [NONE, SOME])], 3, mode)


def test_every_component_must_allow_something():
    """The third class of the first component is padding."""
    pair = spaces.MultiDiscrete([2, 3])
    good, bad = [[1, 0, 0], [0, 0, 1]], [[0, 0, 1], [1, 1, 1]]
    played([lambda: Shown([good] * 5, action_space=pair)], 3)
    with pytest.raises(ValueError, match=r"action_mask=\[\[0, 0, 1\], \[1, 1, 1\]\] in environment 0 at step 2"):
        played([lambda: Shown([good, good, bad, good], action_space=pair)], 3)


@pytest.mark.parametrize("action_space", [spaces.MultiBinary(3), spaces.Discrete(4)], ids=str)
def test_switches_may_all_be_off_and_what_is_no_mask_may_be_0(action_space):
    played([lambda: Shown([NONE] * 5, action_space=action_space)], 3)


def test_worker_processes_are_looked_at_too():
    makers = [lambda: Shown([SOME] * 9), lambda: Shown([SOME, NONE, SOME])]
    with pytest.raises(ValueError, match="in environment 1 at step 1"):
        played(makers, 3, kind=AsyncVectorEnv)


def test_a_mask_of_another_shape_is_named():
    makers = [lambda: Shown([SOME] * 9), lambda: Shown([SOME, SOME, (1, 1, 1, 1), SOME])]
    message = r"The observation 'action_mask' must have the shape \(3,\). Received: \(4,\) from environment 1 at step 2"
    with pytest.raises(ValueError, match=message):
        played(makers, 4)
    late = Shown([SOME] * 3)
    late.episodes = [[(1, 1, 1, 1)]]
    with pytest.raises(ValueError, match=r"'action_mask'.*\(4,\) from environment 0 at step 0"):
        played([lambda: late], 1)


def test_other_errors_of_an_environment_stay_as_they_are():
    class Rude(Shown):
        def step(self, action):
            raise ValueError("not today")

        def reset(self, **arguments):
            if self.episodes[0][0] == NONE:
                raise ValueError("not even this")
            return super().reset(**arguments)

    with pytest.raises(ValueError, match=r"^not today\n"):
        played([lambda: Rude([SOME] * 3)] * 2, 1)
    with pytest.raises(ValueError, match=r"^not even this\n"):
        played([lambda: Rude([NONE] * 3)] * 2, 1)


def test_recorded_random_actions_are_allowed():
    env = Shown([(0, 1, 1), (1, 0, 0), (0, 0, 1)] * 20)
    (episode,) = krp.envs.record_episodes(env, seed=1)
    masks = episode.observations["action_mask"][:-1]
    assert np.take_along_axis(masks, episode.actions[:, None], 1).all()
    assert set(episode.actions[::3]) == {1, 2}
