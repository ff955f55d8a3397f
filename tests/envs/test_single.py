"""Errors for mistakes in custom environments: they name the class, the environment and what was expected."""

import warnings

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import keras_rl_prob as krp
from keras_rl_prob.envs import GymnasiumEnv, make
from keras_rl_prob.python_calls import raising_as_itself


class Mine(gymnasium.Env):
    """Returns the given values."""

    observation_space, action_space = spaces.Box(-1.0, 1.0, (2,)), spaces.Discrete(2)
    zeros = np.zeros(2, np.float32)

    def __init__(self, reset=None, step=None, raises=None):
        right = (self.zeros, {}), (self.zeros, 0.5, False, False, {})
        self.returned = right[0] if reset is None else reset, right[1] if step is None else step
        self.raises = raises

    def reset(self, *, seed=None, options=None):
        return self.returned[0]

    def step(self, action):
        if self.raises is not None:
            raise self.raises
        return self.returned[1]


def with_reward(reward):
    return {"step": (Mine.zeros, reward, False, False, {})}


WRONG = {
    "no info": (
        {"reset": Mine.zeros},
        r"`Mine.reset` must return a tuple of observation and info.*type ndarray.*shimmy",
    ),
    "no observation": (
        {"reset": (None, {})},
        r"`Mine.reset` must return an element of Box\(.*as observation. Received: None",
    ),
    "four values": (
        {"step": (Mine.zeros, 0.0, False, {})},
        r"`Mine.step` must return a tuple of observation, reward, terminated, trunc.*tuple of 4 values.*environment 1.*shimmy",
    ),
    "nothing": ({"step": Mine.zeros}, r"`Mine.step` must return a tuple of observation.*type ndarray"),
    "None": ({"step": (None, 0.0, False, False, {})}, r"`Mine.step` must return an element of.*Received: None"),
    "no reward": (
        with_reward(None),
        r"`Mine.step` must return one real number as reward. Received: None \(environment 1\)",
    ),
    "one in an array": (with_reward(np.ones(1)), r"one real number as reward. Received: array\(\[1.\]\)"),
    "several": (with_reward(np.ones(2)), r"one real number as reward. Received: array\(\[1., 1.\]\).*TransformReward"),
    "a list": (with_reward([1.0, 2.0]), r"one real number as reward. Received: \[1.0, 2.0\].*TransformReward"),
    "a dict": (with_reward({"a": 1.0}), r"one real number as reward. Received: \{'a': 1.0\}"),
    "text": (with_reward("1"), r"one real number as reward. Received: '1'"),
    "complex": (with_reward(1j), r"one real number as reward. Received: 1j"),
    "end": ({"step": (Mine.zeros, 0.0, None, False, {})}, r"True or False as `terminated`. Received: None.*check_env"),
    "cut": ({"step": (Mine.zeros, 0.0, False, [1], {})}, r"True or False as `truncated`. Received: \[1\]"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_an_environment_returns_is_looked_at(kind):
    arguments, message = WRONG[kind]
    made = iter([Mine(), Mine(**arguments)])
    env = make(lambda: next(made), 2)
    with pytest.raises(ValueError, match=message) as caught:
        env.step(env.reset(tf.constant([0, 1]))[0], tf.zeros(2, tf.int32))
    assert str(caught.value).count("\n") == 0
    assert "Raised by the environment Mine (2 of them)" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    "reward", [1, True, np.float16(1), np.int8(1), np.array(1.0), np.bool_(True), tf.constant(1.0)]
)
def test_any_number_is_a_reward(reward):
    env = make(Mine(**with_reward(reward)))
    state, _ = env.reset(tf.constant([0, 1]))
    assert float(env.step(state, tf.zeros(1, tf.int32))[1].reward[0]) == 1.0


INFOS = [{"x": 1}, {"x": "none"}, {"x": np.zeros(3)}, {}, {"x": 2**70}, None, [1], {"final_obs": 3, "_x": 4}]


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_infos_that_nobody_asked_for_do_no_harm(mode):
    made = iter([Mine((Mine.zeros, info), (Mine.zeros, 1.0, True, False, info)) for info in INFOS])
    env = make(lambda: next(made), len(INFOS))
    env.vector_env.autoreset_mode = mode
    state, _ = env.reset(tf.constant([0, 1]))
    for _ in range(3):
        state, step = env.step(state, tf.zeros(len(INFOS), tf.int32))
    assert step.reward.shape == (len(INFOS),)


@pytest.mark.parametrize(
    ("error", "eagerly"),
    [
        *((error, True) for error in (StopIteration("over"), SystemExit(3), KeyError("k"), FileNotFoundError("f"))),
        *((error, False) for error in (StopIteration("over"), SystemExit(3), MemoryError())),
        *(
            pytest.param(error, eagerly, marks=pytest.mark.long)
            for error, eagerly in ((KeyError("k"), False), (FileNotFoundError("f"), False), (MemoryError(), True))
        ),
    ],
)
def test_whatever_an_environment_raises_comes_out_of_fit(error, eagerly):
    agent = krp.A2C()
    agent.compile(run_eagerly=eagerly, jit_compile=False)
    with pytest.raises(type(error)) as caught:
        agent.fit(lambda: Mine(raises=error), num_envs=2, steps_per_epoch=1, verbose=0)
    assert caught.value is error
    if isinstance(error, Exception):
        assert "Raised by the environment Mine (2 of them) at step 1 of this run (see above)" in error.__notes__[-1]


class OldGym:
    """An environment with the API of the old `gym` package."""

    observation_space, action_space = Mine.observation_space, Mine.action_space

    def reset(self):
        return Mine.zeros

    def step(self, action):
        return Mine.zeros, 0.0, False, {}


@pytest.mark.parametrize("env", [OldGym(), OldGym], ids=["object", "class"])
def test_environments_of_the_old_gym_are_told_what_to_do(env):
    with pytest.raises(TypeError, match=r"gymnasium.*GymV21Environment"):
        make(env)


class Batch(gymnasium.vector.VectorEnv):
    """Two environments whose episodes last two steps, and which are reset within the step."""

    num_envs, single_observation_space, single_action_space = 2, Mine.observation_space, Mine.action_space

    def __init__(self, mode=None, infos=None):
        self.metadata, self.infos = {} if mode is None else {"autoreset_mode": mode}, infos
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, 2)

    def reset(self, *, seed=None, options=None):
        self.time = 0
        return np.zeros((2, 2), np.float32), {}

    def step(self, actions):
        self.time += 1
        ended = np.full(2, self.time % 2 == 0)
        infos = self.infos if self.infos is not None and ended.any() else {}
        return np.zeros((2, 2), np.float32), np.ones(2), np.zeros(2, bool), ended, infos


FINAL = np.full((2, 2), 0.5, np.float32)


def played(vector_env, steps=2):
    env = GymnasiumEnv(vector_env)
    state, _ = env.reset(tf.constant([0, 1]))
    for _ in range(steps):
        state, step = env.step(state, tf.zeros(2, tf.int32))
    return step


@pytest.mark.parametrize(
    "infos", [{"final_obs": FINAL}, {"final_observation": FINAL}, [{"terminal_observation": FINAL[0]}, {}]]
)
def test_a_reset_within_the_step_that_was_not_declared_is_found_out(infos):
    env = Batch(infos=infos)
    with pytest.warns(UserWarning, match="Batch.*does not say how it resets.*NEXT_STEP is assumed"):
        GymnasiumEnv(env)
    with (
        pytest.warns(UserWarning, match="does not say"),
        pytest.raises(
            ValueError, match=r"must say so: `env.metadata = .*SAME_STEP.*Received: Batch.*without an autoreset mode"
        ),
    ):
        played(env)


@pytest.mark.parametrize("mode", ["SameStep", "same_step", "SAME_STEP", AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("key", ["final_obs", "final_observation"])
def test_the_mode_may_be_spelled_in_any_way(mode, key):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step = played(Batch(mode, {key: FINAL}))
    np.testing.assert_array_equal(step.final_observation, FINAL)


def test_a_mode_that_there_is_not_is_named():
    with pytest.raises(ValueError, match=r"must be one of \['NEXT_STEP', 'SAME_STEP', 'DISABLED'\]. Received: 'never'"):
        GymnasiumEnv(Batch("never"))


def test_final_observations_that_the_mode_needs_are_missed():
    with pytest.raises(
        ValueError, match=r"must put the final observations into `info\[\"final_obs\"\]`.*with \['x'\] in"
    ):
        played(Batch("SameStep", {"x": 3}))


def test_a_vector_environment_without_spaces_of_one_environment_is_named():
    bare = Batch("NextStep")
    bare.single_action_space = None
    with pytest.raises(TypeError, match=r"must have `num_envs`, .*without \['single_action_space'\]"):
        make(bare)


def test_errors_that_are_no_environments_pass():
    with pytest.raises(tf.errors.InvalidArgumentError), raising_as_itself():
        tf.debugging.assert_equal(1, 2)


def test_a_batch_keeps_its_vector_environment():
    env = SyncVectorEnv([Mine])
    assert GymnasiumEnv(env).vector_env is env
