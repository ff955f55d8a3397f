"""`GymnasiumEnv`: values from and to vector environments, in every autoreset mode."""

import threading

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from keras_rl_prob.drivers import Driver
from keras_rl_prob.envs import CheckObservation, GymnasiumEnv
from keras_rl_prob.python_calls import raising_as_itself
from keras_rl_prob.testing import ScriptedEnv

ACTIONS = spaces.Dict(
    {
        "move": spaces.Box(np.array([-2.0, 0.0]), np.array([2.0, 8.0]), dtype=np.float64),
        "rest": spaces.Tuple(
            (spaces.MultiDiscrete([2, 3], start=[1, -4]), spaces.MultiBinary(2), spaces.Box(-1, 1, ()))
        ),
        "tool": spaces.Discrete(3, start=-7),
    }
)
LENGTHS = ((3, 1, 2), (2, 4), (1,), (5, 2))  # of the episodes of each environment, repeated
STEPS = 9


class Echo(gymnasium.Env):
    """Observations are the last action and `(index, episode, step)`; rejects actions that are not exactly in its space.

    Episodes with an even number are terminated, the others truncated; the reward of a step is `10 * episode + step`.
    """

    action_space = ACTIONS

    def __init__(self, index):
        self.index, self.episode = index, -1
        where = spaces.Box(0.0, np.inf, (3,), np.float64)
        self.observation_space = spaces.Dict({"where": where, "echo": ACTIONS})

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.steps = self.episode + 1, 0
        start = {
            "move": np.zeros(2),
            "rest": (np.array([1, -4]), np.zeros(2, np.int8), np.array(0.0, np.float32)),
            "tool": np.int64(-7),
        }
        return self._observation(start), {}

    def step(self, action):
        if not self.action_space.contains(action):
            raise ValueError(f"Not in the action space: {action}")
        move, (pair, flags, number), tool = action["move"], action["rest"], action["tool"]
        got = [np.asarray(x).dtype.name for x in (move, pair, flags, number, tool)]
        if got != ["float64", "int64", "int8", "float32", "int64"]:
            raise ValueError(f"Other dtypes than those of the space: {got}")
        self.steps += 1
        done = self.steps == LENGTHS[self.index][self.episode % len(LENGTHS[self.index])]
        terminated = done and self.episode % 2 == 0
        reward = 10.0 * self.episode + self.steps
        return self._observation(action), reward, terminated, done and not terminated, {}

    def _observation(self, echo):
        return {"where": np.array([self.index, self.episode, self.steps], np.float64), "echo": echo}


def actions_in_graph():
    """`[STEPS, B, ...]` like `ACTIONS` inside the library: float32 and classes from 0; every action differs."""
    rng = np.random.default_rng(0)
    shape = (STEPS, len(LENGTHS))
    pair = np.stack([rng.integers(2, size=shape), rng.integers(3, size=shape)], -1)
    return {
        "move": rng.uniform([-2, 0], [2, 8], (*shape, 2)).astype(np.float32),
        "rest": (
            pair.astype(np.int32),
            rng.integers(2, size=(*shape, 2)).astype(np.int32),
            rng.uniform(-1, 1, shape).astype(np.float32),
        ),
        "tool": rng.integers(3, size=shape).astype(np.int32),
    }


def expected_rows(index, next_step):
    """The expected rows after each of `STEPS` actions, computed by hand.

    Yields `(where, echoed, reward, discount, is_first, is_last, final_where)`; `echoed` is whether the observation shows
    the action of the row, `final_where` is the observation of before a reset within the step.
    """
    episode, step, over = 0, 0, False
    for _ in range(STEPS):
        if over:  # NEXT_STEP: this row is the reset
            episode, step, over = episode + 1, 0, False
            yield (index, episode, 0), False, 0.0, 1.0, True, False, None
            continue
        step += 1
        done = step == LENGTHS[index][episode % len(LENGTHS[index])]
        reward, discount = 10.0 * episode + step, 0.0 if done and episode % 2 == 0 else 1.0
        if not done or next_step:
            over = done
            yield (index, episode, step), True, reward, discount, False, done, (index, episode, step)
        else:
            final, episode, step = (index, episode, step), episode + 1, 0
            yield (index, episode, 0), False, reward, discount, True, True, final


def in_graph(env):
    """`reset` and `step` as a driver runs them."""
    return tf.function(env.reset, autograph=False), tf.function(env.step, autograph=False)


def play(env, actions):
    """`[STEPS, B, ...]` rows of time steps in a graph, the first time step, and the states."""
    reset, step = in_graph(env)
    state, first = reset(tf.constant([1, 2]))
    rows, states = [], [state]
    for t in range(STEPS):
        state, row = step(state, tf.nest.map_structure(lambda x, t=t: tf.constant(x[t]), actions))
        rows.append(row)
        states.append(state)
    stacked = tf.nest.map_structure(lambda *x: np.stack([y.numpy() for y in x]), *rows)
    return first, stacked, np.stack(states)


@pytest.mark.parametrize(
    ("vector_class", "mode"),
    [*((SyncVectorEnv, mode) for mode in AutoresetMode), (AsyncVectorEnv, AutoresetMode.NEXT_STEP)],
)
def test_nested_values_and_episode_ends_are_exact(vector_class, mode):
    env = GymnasiumEnv(vector_class([lambda i=i: Echo(i) for i in range(len(LENGTHS))], autoreset_mode=mode))
    actions = actions_in_graph()
    first, rows, states = play(env, actions)
    env.close()
    next_step = mode is AutoresetMode.NEXT_STEP

    assert first.is_first.numpy().all()
    assert not first.is_last.numpy().any()
    np.testing.assert_array_equal(first.observation["where"], [[i, 0, 0] for i in range(len(LENGTHS))])
    np.testing.assert_array_equal([first.reward, first.discount], [[0] * 4, [1] * 4])
    np.testing.assert_array_equal(states, [first.is_last, *rows.is_last])
    assert (rows.final_observation == ()) == (first.final_observation == ()) == next_step
    rows_that_ended = rows_that_echoed = 0
    for index in range(len(LENGTHS)):
        for t, (where, echoed, reward, discount, is_first, is_last, final) in enumerate(
            expected_rows(index, next_step)
        ):
            here = f"environment {index}, row {t}"
            sent = tf.nest.map_structure(lambda x, t=t, i=index: x[t, i], actions)
            row = tf.nest.map_structure(lambda x, t=t, i=index: x[t, i], rows)
            shown = sent if echoed else tf.nest.map_structure(np.zeros_like, sent)
            assert row.observation["where"].tolist() == list(where), here
            tf.nest.map_structure(np.testing.assert_array_equal, row.observation["echo"], shown)
            assert (row.reward, row.discount, row.is_first, row.is_last) == (reward, discount, is_first, is_last), here
            rows_that_echoed += echoed
            if is_last and not next_step:
                rows_that_ended += 1
                assert row.final_observation["where"].tolist() == list(final), here
                tf.nest.map_structure(np.testing.assert_array_equal, row.final_observation["echo"], sent)
    assert rows_that_echoed >= 15
    assert next_step or rows_that_ended >= 15


def test_values_leave_in_the_promised_dtypes():
    env = GymnasiumEnv(SyncVectorEnv([lambda: Echo(0)]))
    _, first = env.reset(tf.constant([0, 0]))
    dtypes = tf.nest.map_structure(lambda x: x.dtype.name, first.observation)
    assert dtypes == {
        "echo": {"move": "float32", "rest": ("int32", "int32", "float32"), "tool": "int32"},
        "where": "float32",
    }
    assert [x.dtype.name for x in first[1:5]] == ["float32", "float32", "bool", "bool"]
    shapes = tf.nest.map_structure(lambda x: tuple(x.shape), first.observation)
    assert shapes["echo"] == {"move": (1, 2), "rest": ((1, 2), (1, 2), (1,)), "tool": (1,)}


class Camera(gymnasium.Env):
    """A byte image with the number of the step in all pixels but one."""

    observation_space = spaces.Box(0, 255, (6, 5, 3), np.uint8)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 250
        return self._image(), {}

    def step(self, action):
        self.steps += 1
        return self._image(), 0.0, False, self.steps == 255, {}

    def _image(self):
        image = np.full((6, 5, 3), self.steps, np.uint8)
        image[2, 1, 0] = 7
        return image


@pytest.mark.parametrize("mode", AutoresetMode)
def test_images_stay_bytes(mode):
    env = GymnasiumEnv(SyncVectorEnv([Camera, Camera], autoreset_mode=mode))
    state, step = env.reset(tf.constant([0, 0]))
    for t in range(5):
        assert step.observation.dtype == tf.uint8
        np.testing.assert_array_equal(step.observation[:, 0, 0], np.full((2, 3), 250 + t))
        np.testing.assert_array_equal(step.observation[:, 2, 1, 0], [7, 7])
        state, step = env.step(state, tf.constant([0, 1]))
    last = step.observation if mode is AutoresetMode.NEXT_STEP else step.final_observation
    assert last.dtype == tf.uint8
    np.testing.assert_array_equal(last[:, 0, 0], np.full((2, 3), 255))


def test_the_seed_decides_the_first_observations():
    env = GymnasiumEnv(gymnasium.make_vec("CartPole-v1", 3, vectorization_mode="sync"))
    observations = [env.reset(tf.constant(seed))[1].observation.numpy() for seed in ([1, -5], [1, -5], [2, -5])]
    np.testing.assert_array_equal(observations[0], observations[1])
    assert not np.any(observations[0] == observations[2])
    assert len(np.unique(observations[0])) == 12  # every environment starts differently
    for extreme in ([-(2**31), 2**31 - 1], [-(2**31), -(2**31)]):
        assert np.isfinite(env.reset(tf.constant(extreme))[1].observation).all()


def test_vectorised_environments_of_gymnasium_reset_with_the_next_step():
    env = GymnasiumEnv(gymnasium.make_vec("CartPole-v1", 2, vectorization_mode="vector_entry_point"))
    state, _ = env.reset(tf.constant([0, 1]))
    rows = []
    for _ in range(60):
        state, row = env.step(state, tf.constant([1, 1]))
        rows.append(tf.nest.map_structure(lambda x: x.numpy(), row))
    is_first, is_last = np.stack([row.is_first for row in rows]), np.stack([row.is_last for row in rows])
    assert is_last.sum() > 5
    np.testing.assert_array_equal(is_first[1:], is_last[:-1])
    assert {float(row.reward[i]) for row in rows for i in range(2) if row.is_first[i]} == {0.0}
    starts = [row.observation[i] for row in rows for i in range(2) if row.is_first[i]]
    assert np.abs(starts).max() <= 0.05  # a new episode, not the previous row


# ---- third-party vector environments ---------------------------------------------------------------------------------


def aligned(shape, dtype):
    """Zeros at an address for which TensorFlow makes no copy."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)


class Custom(gymnasium.vector.VectorEnv):
    """Three environments that count their steps in one buffer each for observations and rewards; episodes of 2, 3, 4.

    `final_obs` is a batch, not an array of objects; so is everything, rows where no episode ended hold -1.
    """

    num_envs = 3
    single_action_space = spaces.Box(-np.inf, np.inf, (4,))

    def __init__(self, mode=AutoresetMode.NEXT_STEP, nested=False):
        box = spaces.Box(-1.0, np.inf, (4,))
        self.metadata = {"autoreset_mode": mode}
        self.nested = nested
        self.single_observation_space = spaces.Dict({"steps": box}) if nested else box
        self.steps, self.over = np.zeros(3, int), np.zeros(3, bool)
        self.observation, self.reward = aligned((3, 4), np.float32), aligned((3,), np.float32)
        self.actions = []

    def reset(self, *, seed=None, options=None):
        mask = (options or {}).get("reset_mask", np.ones(3, bool))
        self.steps[mask], self.over[mask] = 0, False
        return self._observe(), {}

    def step(self, actions):
        self.actions.append(actions.copy())
        actions *= 0.0  # it clips in place
        next_step = self.metadata["autoreset_mode"] in (AutoresetMode.NEXT_STEP, "NextStep")
        self.steps = np.where(self.over & next_step, 0, self.steps + 1)
        done = self.steps == [2, 3, 4]
        self.reward[:] = self.steps
        info = {}
        if self.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP and done.any():
            final = np.where(done[:, None], self.steps[:, None], -1.0).astype(np.float32) * np.ones(4, np.float32)
            info["final_obs"] = {"steps": final} if self.nested else final
            self.steps[done] = 0
        self.over = done
        return self._observe(), self.reward, np.zeros(3, bool), done, info

    def _observe(self):
        self.observation[:] = self.steps[:, None]
        return {"steps": self.observation} if self.nested else self.observation


@pytest.mark.parametrize("nested", [False, True], ids=["array", "dict"])
@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_final_observations_in_one_batch(mode, nested):
    env = GymnasiumEnv(Custom(mode, nested))
    state, _ = env.reset(tf.constant([0, 0]))
    seen = []
    for _ in range(4):
        state, step = env.step(state, tf.zeros((3, 4)))
        observation, final = (tf.nest.flatten(x)[0].numpy() for x in (step.observation, step.final_observation))
        seen.append(
            [observation[:, 0].tolist(), step.is_last.numpy().tolist(), final[step.is_last.numpy(), 0].tolist()]
        )
    assert seen == [
        [[1, 1, 1], [False, False, False], []],
        [[0, 2, 2], [True, False, False], [2]],
        [[1, 0, 3], [False, True, False], [3]],
        [[0, 1, 0], [True, False, True], [2, 4]],
    ]


@pytest.mark.parametrize("mode", ["NextStep", AutoresetMode.NEXT_STEP, None])
def test_the_autoreset_mode_may_be_a_name_or_missing(mode):
    vector_env = Custom()
    vector_env.metadata = {} if mode is None else {"autoreset_mode": mode}
    vector_env.step = lambda action: (vector_env._observe(), np.ones(3), np.zeros(3, bool), np.ones(3, bool), {})
    env = GymnasiumEnv(vector_env)
    state, first = env.reset(tf.constant([0, 0]))
    assert first.final_observation == ()
    _, step = env.step(state, tf.zeros((3, 4)))
    assert env.step(step.is_last, tf.zeros((3, 4)))[1].is_first.numpy().all()


@pytest.mark.parametrize("mode", AutoresetMode)
def test_rows_do_not_change_when_the_environment_reuses_its_buffers(mode):
    env = GymnasiumEnv(Custom(mode))
    reset, step = in_graph(env)
    state, first = reset(tf.constant([0, 0]))
    state, second = step(state, tf.zeros((3, 4)))
    step(state, tf.zeros((3, 4)))
    np.testing.assert_array_equal(first.observation, np.zeros((3, 4)))
    np.testing.assert_array_equal(second.observation, np.ones((3, 4)))
    np.testing.assert_array_equal(second.reward, np.ones(3))


class Drifting:
    """An agent without memory whose actions are `1 + observation`."""

    def initial_state(self, batch_size):
        return ()

    def act(self, observation, is_first, state, seed):
        action = observation + 1.0
        return action, {"action": action}, ()

    def final_value(self, observation, state):
        return observation[:, 0]


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "jit"])
@pytest.mark.parametrize("mode", AutoresetMode)
def test_rollouts_of_an_environment_that_works_in_place(mode, jit_compile):
    """The environment overwrites what it returned, and the actions that it was given."""
    vector_env = Custom(mode)
    driver = Driver(Drifting(), GymnasiumEnv(vector_env), steps=5, sequence_length=5, seed=0, jit_compile=jit_compile)
    rollout = tf.function(driver.collect, autograph=False)()
    steps = [[0, 1, 2, 0, 1], [0, 1, 2, 3, 0], [0, 1, 2, 3, 4]]
    rewards = [[1, 2, 0, 1, 2], [1, 2, 3, 0, 1], [1, 2, 3, 4, 0]]
    if mode is not AutoresetMode.NEXT_STEP:
        steps = [[0, 1, 0, 1, 0], [0, 1, 2, 0, 1], [0, 1, 2, 3, 0]]
        rewards = [[1, 2, 1, 2, 1], [1, 2, 3, 1, 2], [1, 2, 3, 4, 1]]
        ends = [[0, 2, 0, 2, 0], [0, 0, 3, 0, 0], [0, 0, 0, 4, 0]]
        np.testing.assert_array_equal(rollout.final_value, np.transpose(ends))
    np.testing.assert_array_equal(rollout.observation[..., 0], np.transpose(steps))
    np.testing.assert_array_equal(rollout.reward, np.transpose(rewards))
    np.testing.assert_array_equal(rollout.record["action"], rollout.observation + 1.0)
    np.testing.assert_array_equal(vector_env.actions, rollout.record["action"])


def test_synchronous_environments_without_copies():
    vector_env = SyncVectorEnv([lambda i=i: ScriptedEnv(i, [(9, "truncated")]) for i in range(2)], copy=False)
    vector_env._observations = aligned((2, 3), np.float32)
    env = GymnasiumEnv(vector_env)
    state, first = env.reset(tf.constant([0, 0]))
    _, second = env.step(state, tf.zeros(2, tf.int32))
    np.testing.assert_array_equal(first.observation[:, 2], [0, 0])
    np.testing.assert_array_equal(second.observation[:, 2], [1, 1])


# ---- errors ----------------------------------------------------------------------------------------------------------


class Trouble(RuntimeError):
    """Raised by an environment."""


class Fragile(Echo):
    action_space = spaces.Discrete(2)

    def __init__(self, at):
        super().__init__(3)
        self.at, self.taken = at, 0

    def reset(self, **arguments):
        if self.at == 0:
            raise Trouble("at the start")
        return super().reset(**arguments)

    def step(self, action):
        self.taken += 1
        if self.taken >= self.at:
            raise Trouble(f"on the way {self.taken}")
        return self._observation(ACTIONS.sample()), 0.0, False, False, {}


def test_an_exception_comes_out_as_itself_with_a_note_of_where():
    env = GymnasiumEnv(SyncVectorEnv([lambda: Fragile(3)]))
    reset, step = in_graph(env)
    state, _ = reset(tf.constant([0, 0]))
    for _ in range(2):
        state, _ = step(state, tf.zeros(1, tf.int32))
    with pytest.raises(tf.errors.OpError, match="on the way 3"):
        step(state, tf.zeros(1, tf.int32))
    with pytest.raises(Trouble, match="on the way 4") as caught, raising_as_itself():
        step(state, tf.zeros(1, tf.int32))
    (note,) = caught.value.__notes__
    assert note.startswith("Raised by the environment Fragile (1 of them) at step 4 of this run (see above).")


def test_an_exception_in_reset_comes_out_too_and_the_next_run_starts_afresh():
    vector_env = SyncVectorEnv([lambda: Fragile(0)])
    env = GymnasiumEnv(vector_env)
    reset, step = in_graph(env)
    with pytest.raises(Trouble, match="at the start") as caught, raising_as_itself():
        reset(tf.constant([0, 0]))
    assert "at step 0 of this run" in caught.value.__notes__[0]
    vector_env.envs[0].at = 1
    state, _ = reset(tf.constant([0, 0]))
    with pytest.raises(Trouble, match="on the way 1"), raising_as_itself():
        step(state, tf.zeros(1, tf.int32))


def test_eagerly_an_exception_is_raised_as_itself():
    env = GymnasiumEnv(SyncVectorEnv([lambda: Fragile(1)]))
    state, _ = env.reset(tf.constant([0, 0]))
    with pytest.raises(Trouble, match="on the way 1"):
        env.step(state, tf.zeros(1, tf.int32))


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        (
            "observation",
            np.nan,
            r"The observation is not finite in environment 1. Received: observation=\[nan +1\. +1\. +1\.\]",
        ),
        ("reward", -np.inf, r"The reward is not finite in environment 1. Received: reward=-inf"),
    ],
)
@pytest.mark.parametrize("mode", AutoresetMode)
def test_numbers_that_are_not_finite_are_named(part, value, message, mode):
    vector_env = Custom(mode)
    env = GymnasiumEnv(vector_env)
    real_step = vector_env.step

    def step(actions):
        observation, reward, *rest = real_step(actions)
        (observation[1] if part == "observation" else reward[1:])[0] = value
        return observation, reward, *rest

    vector_env.step = step
    state, _ = env.reset(tf.constant([0, 0]))
    with pytest.raises(FloatingPointError, match=message):
        env.step(state, tf.zeros((3, 4)))


class Changing(gymnasium.Env):
    """Returns `late` from the third step on."""

    action_space = spaces.Discrete(2)

    def __init__(self, space, late=None, raises=None):
        self.observation_space, self.late, self.raises = space, late, raises

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return self._sound(), {}

    def step(self, action):
        self.steps += 1
        if self.steps == 3 and self.raises:
            raise self.raises
        changed = self.steps >= 3 and self.late is not None
        return self.late if changed else self._sound(), 0.0, False, False, {}

    def _sound(self):
        return self.observation_space.sample()


def steps(env, count):
    """The last of this many rows."""
    state, _ = env.reset(tf.constant([0, 0]))
    for _ in range(count):
        state, row = env.step(state, tf.zeros(env.num_envs, tf.int32))
    return row


FOUR, BYTES = spaces.Box(-1.0, 1.0, (4,)), spaces.Box(0, 255, (4,), np.uint8)
NESTED = spaces.Dict({"arm": spaces.Tuple((FOUR, spaces.Discrete(3))), "tool": spaces.Discrete(2)})
ARM = (np.zeros(4, np.float32), 1)


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize(
    ("space", "late", "message"),
    [
        (FOUR, np.zeros(1, np.float32), r"observation must have the shape \(4,\). Received: \(1,\)"),
        (FOUR, np.zeros((2, 2), np.float32), r"observation must have the shape \(4,\). Received: \(2, 2\)"),
        (FOUR, np.float32(0.5), r"observation must have the shape \(4,\). Received: \(\)"),
        (FOUR, [[1.0], [2.0, 3.0]], r"observation must have the shape \(4,\). Received: rows of different lengths"),
        (BYTES, np.full(4, 0.7), r"observation must have the dtype uint8. Received: float64"),
        (BYTES, np.full(4, 300), r"observation must have the dtype uint8. Received: int64"),
        (NESTED, {"arm": ARM}, r"observation must have the keys \['arm', 'tool'\]. Received: \['arm'\]"),
        (NESTED, {"arm": (ARM[0], 1.5), "tool": 0}, r"observation 'arm_1' must have the dtype int64. Received: float"),
        (NESTED, {"arm": ARM[:1], "tool": 0}, r"observation 'arm' must be a tuple of 2 parts. Received: 1 parts"),
        (NESTED, ARM, r"observation must be a dict with the keys \['arm', 'tool'\]. Received: tuple"),
    ],
)
@pytest.mark.parametrize("others", [0, 1])
def test_observations_that_change_are_named(space, late, message, others, mode):
    makers = [lambda: Changing(space)] * others + [lambda: Changing(space, late)]
    env = GymnasiumEnv(SyncVectorEnv(makers, autoreset_mode=mode))
    _, step = in_graph(env)
    state, _ = env.reset(tf.constant([0, 0]))
    for _ in range(2):
        state, _ = step(state, tf.zeros(others + 1, tf.int32))
    expected = rf"^The {message}.* from environment {others} at step 3\n"
    with pytest.raises(ValueError, match=expected), raising_as_itself():
        step(state, tf.zeros(others + 1, tf.int32))


def test_what_can_be_converted_is_no_misfit():
    late = {"arm": [np.zeros(4), np.int8(1)], "tool": True, "more": "not in the space"}
    row = steps(GymnasiumEnv(SyncVectorEnv([lambda: Changing(NESTED, late)])), 4)
    assert tf.nest.map_structure(lambda x: x[0].numpy().tolist(), row.observation) == {"arm": ([0.0] * 4, 1), "tool": 1}


@pytest.mark.parametrize("error", [ValueError, TypeError, KeyError, IndexError])
@pytest.mark.parametrize(
    "wrap", [lambda env: env, gymnasium.wrappers.vector.FlattenObservation], ids=["bare", "wrapped"]
)
def test_errors_of_an_environment_are_not_taken_for_misfits(error, wrap):
    image = spaces.Box(-1.0, 1.0, (2, 2))
    env = GymnasiumEnv(wrap(SyncVectorEnv([lambda: Changing(image), lambda: Changing(image, raises=error("mine"))])))
    with pytest.raises(error, match="mine"):
        steps(env, 3)


def test_an_environment_that_was_not_reset_yet_is_not_blamed():
    class Locked(Changing):
        def reset(self, **arguments):
            raise ValueError("locked")

    env = GymnasiumEnv(SyncVectorEnv([lambda: Changing(FOUR), lambda: Locked(FOUR), lambda: Changing(FOUR)]))
    with pytest.raises(ValueError, match=r"^locked\n"):
        env.reset(tf.constant([0, 0]))


@pytest.mark.parametrize(
    ("nested", "change", "message"),
    [
        (
            False,
            lambda x: x[:, :1],
            r"observation must have the shape \(3, 4\). Received: \(3, 1\) from the vector env",
        ),
        (False, lambda x: x[:2], r"observation must have the shape \(3, 4\). Received: \(2, 4\) from the vector env"),
        (False, lambda x: x[0, 0], r"observation must have the shape \(3, 4\). Received: \(\) from the vector env"),
        (
            True,
            lambda x: x["steps"],
            r"must be a dict with the keys \['steps'\]. Received: ndarray from the vector env",
        ),
        (True, lambda x: {"step": x["steps"]}, r"must have the keys \['steps'\]. Received: \['step'\] from the vec"),
        (True, lambda x: {"steps": x["steps"][:2]}, r"'steps' must have the shape \(3, 4\). Received: \(2, 4\) from"),
    ],
)
@pytest.mark.parametrize("mode", AutoresetMode)
def test_batches_that_change_are_named(nested, change, message, mode):
    vector_env = Custom(mode, nested)
    env = GymnasiumEnv(vector_env)
    state, _ = env.reset(tf.constant([0, 0]))
    real_step = vector_env.step
    vector_env.step = lambda actions: (change((result := real_step(actions))[0]), *result[1:])
    with pytest.raises(ValueError, match=rf"{message}.* at step 1\n"):
        env.step(state, tf.zeros((3, 4)))


@pytest.mark.parametrize("part", [1, 2, 3])
def test_rewards_and_ends_come_for_each_environment(part):
    vector_env = Custom()
    env = GymnasiumEnv(vector_env)
    state, _ = env.reset(tf.constant([0, 0]))
    real_step = vector_env.step

    def step(actions):
        result = list(real_step(actions))
        result[part] = result[part][:1]
        return result

    vector_env.step = step
    with pytest.raises(ValueError, match=r"rewards and ends of the shape \(3,\). Received: .*\(1,\).* at step 1\n"):
        env.step(state, tf.zeros((3, 4)))


@pytest.mark.filterwarnings("ignore:.*ERROR")  # Gymnasium's, of the worker
def test_worker_processes_say_what_changes_if_they_are_told_to_look():
    late = np.full(1, 0.5, np.float32)
    silent = GymnasiumEnv(AsyncVectorEnv([lambda: Changing(FOUR, late)]))
    observation = steps(silent, 3).observation
    silent.close()
    np.testing.assert_array_equal(observation, [[0.5] * 4])  # this is why there is a wrapper
    env = GymnasiumEnv(AsyncVectorEnv([lambda: CheckObservation(Changing(FOUR, late))]))
    with pytest.raises(ValueError, match=r"shape \(4,\). Received: \(1,\) at step 3 of episode 1, from <Changing inst"):
        steps(env, 3)
    env.close()


def test_close_closes():
    for vector_class in (SyncVectorEnv, AsyncVectorEnv):
        vector_env = vector_class([lambda: Echo(0)])
        GymnasiumEnv(vector_env).close()
        assert vector_env.closed


def test_python_remembers_the_threads_that_call_environments():
    local, calls, news = threading.local(), [], []

    class Counting(gymnasium.Env):
        observation_space, action_space = spaces.Box(-1.0, 1.0, (1,)), spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            return np.zeros(1, np.float32), {}

        def step(self, action):
            calls.append(threading.get_ident())
            news.append(not hasattr(local, "known"))
            local.known = True
            return np.zeros(1, np.float32), 0.0, False, False, {}

    env = GymnasiumEnv(SyncVectorEnv([Counting]))
    state, _ = env.reset(tf.constant([0, 0]))

    @tf.function(autograph=False)
    def play():
        tf.while_loop(lambda t: t < 100, lambda t: (t + 1 + 0 * take(),), (tf.constant(0),), parallel_iterations=1)

    def take():
        return tf.cast(env.step(state, tf.zeros(1, tf.int32))[1].reward[0], tf.int32)

    play()
    assert len(calls) == 100
    assert sum(news) == len(set(calls))
