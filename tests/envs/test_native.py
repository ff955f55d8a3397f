"""Native environments against those of Gymnasium, transition by transition, and the exact rows of the base class."""

import gymnasium
import numpy as np
import pytest
import tensorflow as tf

from keras_rl_prob.envs import native
from keras_rl_prob.envs.native.uniform import uniform

CLASSIC = ["Acrobot-v1", "CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1"]
MASKED = [name.replace("-", "NoVel-") for name in CLASSIC]
VALLEY = [((-1.2, -0.07), (0.6, 0.07), 300), ((0.4, -0.01), (0.55, 0.01), 300), ((-1.2, -0.07), (-1.15, 0.0), 50)]
TWELVE_DEGREES = 0.20943951
# Boxes of states and the number of samples from each; a box without extent is one state just inside or outside a limit.
STATES = {
    "Acrobot-v1": [((-3.14, -3.14, -s, -2 * s), (3.14, 3.14, s, 2 * s), 300) for s in (3, 13)],
    "CartPole-v1": [((-2.5, -3, -0.22, -3), (2.5, 3, 0.22, 3), 300), ((-2.5, -9, -0.22, -9), (2.5, 9, 0.22, 9), 100)]
    + [((s * (2.4 + d), 0, 0, 0),) * 2 + (1,) for s in (-1, 1) for d in (-1e-5, 1e-5)]
    + [((0, 0, s * (TWELVE_DEGREES + d), 0),) * 2 + (1,) for s in (-1, 1) for d in (-1e-5, 1e-5)],
    "MountainCar-v0": VALLEY,
    "MountainCarContinuous-v0": VALLEY,
    "Pendulum-v1": [((-10, -8), (10, 8), 400)],
}
# The largest value of each state component that dynamics clip.
CLIPS = {"Acrobot-v1": {2: 4 * np.pi, 3: 9 * np.pi}, "MountainCar-v0": {1: 0.07}, "MountainCarContinuous-v0": {1: 0.07}}
CLIPS |= {"Pendulum-v1": {1: 8.0}, "CartPole-v1": {}}


def draw_transitions(name):
    """States [N, n] and actions [N, ...], some of them beyond the limits of their space."""
    rng = np.random.default_rng(0)
    states = np.concatenate([rng.uniform(low, high, (n, len(low))) for low, high, n in STATES[name]]).astype(np.float32)
    space = gymnasium.make(name).action_space
    if isinstance(space, gymnasium.spaces.Discrete):
        return states, rng.integers(space.n, size=len(states), dtype=np.int32)
    return states, rng.uniform(1.5 * space.low, 1.5 * space.high, (len(states), 1)).astype(np.float32)


def gymnasium_transition(env, state, action):
    env.state = state.astype(np.float64)
    env.steps_beyond_terminated = None
    observation, reward, terminated, _, _ = env.step(action)
    return np.array(env.state), observation, reward, terminated


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("name", CLASSIC)
def test_transitions_are_those_of_gymnasium(name, jit):
    states, actions = draw_transitions(name)
    original = gymnasium.make(name).unwrapped
    original.reset(seed=0)
    rows = [gymnasium_transition(original, *pair) for pair in zip(states, actions, strict=True)]
    want = [np.stack(column) for column in zip(*rows, strict=True)]
    env = native.make_native(f"tf/{name}", len(states))

    def move(state, action):
        state, reward, terminated = env.transition(state, action, [0, 0])
        return state, env.observe(state), reward, terminated

    got = (tf.function(move, jit_compile=True) if jit else move)(tf.constant(states), tf.constant(actions))
    state, observation, reward, terminated = (x.numpy() for x in got)
    if name == "Acrobot-v1":  # angles near the seam may lie on either side of it
        assert np.abs(state[:, :2]).max() <= np.pi + 1e-6
        want[0][:, :2] += 2 * np.pi * np.round((state[:, :2] - want[0][:, :2]) / (2 * np.pi))
    tolerance = np.full((len(states), 1), 2e-6)
    if name == "Acrobot-v1":  # the Runge-Kutta step amplifies rounding, most where the links spin fast
        tolerance = np.where(np.abs(states[:, 3:]) > 6, 1e-3, 2e-5)
    assert (np.abs(state - want[0]) <= tolerance).all(), np.abs(state - want[0]).max(0)
    assert (np.abs(observation - want[1]) <= tolerance).all(), np.abs(observation - want[1]).max(0)
    np.testing.assert_allclose(reward, want[2], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(terminated, want[3])
    assert (reward.dtype, observation.dtype) == (np.float32, np.float32)
    check_that_limits_were_reached(name, state, terminated)


def check_that_limits_were_reached(name, state, terminated):
    assert (~terminated).sum() > 100
    assert terminated.sum() == 0 if name == "Pendulum-v1" else terminated.sum() > 50
    for column, limit in CLIPS[name].items():
        for side in (-1, 1):
            assert np.isclose(state[:, column], side * limit, rtol=1e-6).any(), f"component {column} never clipped"
    if name.startswith("MountainCar"):
        position = 0.5 if name == "MountainCar-v0" else 0.45
        assert ((state[:, 0] == np.float32(-1.2)) & (state[:, 1] == 0)).any(), "wall not reached"
        assert ((state[:, 0] > position) & (state[:, 1] < 0)).any(), "goal never passed backwards"


@pytest.mark.parametrize("name", CLASSIC)
@pytest.mark.parametrize("suffix", ["", "NoVel"])
def test_spaces_and_limits_are_those_of_gymnasium(name, suffix):
    env, original = native.make_native(f"tf/{name.replace('-', suffix + '-')}", 3), gymnasium.make(name)
    assert env.observation_space == original.observation_space
    assert env.action_space == original.action_space
    assert env.max_episode_steps == original.spec.max_episode_steps
    assert env.num_envs == 3
    assert env.compilable


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("Acrobot-v1", [-0.1] * 4, [0.1] * 4),
        ("CartPole-v1", [-0.05] * 4, [0.05] * 4),
        ("MountainCar-v0", [-0.6, 0], [-0.4, 0]),
        ("MountainCarContinuous-v0", [-0.6, 0], [-0.4, 0]),
        ("Pendulum-v1", [-np.pi, -1], [np.pi, 1]),
    ],
)
def test_initial_states_are_uniform_and_independent(name, low, high):
    state = native.make_native(f"tf/{name}", 20_000).reset([3, 5])[0].simulator.numpy()
    low, high = np.array(low), np.array(high)
    tenths = np.linspace(0, 1, 11)
    want = low + tenths[:, None] * (high - low)  # [11, n]
    np.testing.assert_allclose(np.quantile(state, tenths, axis=0), want, atol=0.02 * max(high - low))
    assert (state >= np.float32(low)).all()
    assert (state <= np.float32(high)).all()
    moving = state[:, high > low]
    correlation = np.atleast_2d(np.corrcoef(moving, rowvar=False)) - np.eye(moving.shape[1])
    assert np.abs(correlation).max() < 0.03
    assert np.abs(np.corrcoef(moving[:-1, 0], moving[1:, 0])[0, 1]) < 0.03


@pytest.mark.parametrize("name", MASKED)
def test_masked_variants_hide_velocities_and_nothing_else(name):
    plain = native.make_native(f"tf/{name.replace('NoVel', '')}", 16)
    masked = native.make_native(f"tf/{name}", 16)
    hidden = {"A": [4, 5], "C": [1, 3], "M": [1], "P": [2]}[name[0]]
    state = tf.random.stateless_normal((16, plain.reset([0, 1])[0].simulator.shape[1]), [0, 1])
    want = plain.observe(state).numpy()
    assert (want != 0).all()
    want[:, hidden] = 0.0
    np.testing.assert_array_equal(masked.observe(state), want)


class Lengths(native.NativeEnv):
    """Copy i terminates after i + 1 transitions; observation: the sum of the episode's actions; reward: the action."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, ())
    action_space = gymnasium.spaces.Box(-np.inf, np.inf, ())

    def initial_state(self, seed):
        return {"sum": tf.zeros((self.num_envs,)), "time": tf.zeros((self.num_envs,), tf.int32)}

    def observe(self, state):
        return state["sum"]

    def transition(self, state, action, seed):
        time = state["time"] + 1
        return {"sum": state["sum"] + action, "time": time}, action, time == tf.range(self.num_envs) + 1


class Noise(native.NativeEnv):
    """Every state is a new sample; episodes take one transition in the first two copies and two in the others.

    One copy's transition and another's reset would use the same bits if they had the same key.
    """

    observation_space = action_space = gymnasium.spaces.Box(0.0, 1.0, (2,))
    max_episode_steps = 2

    def initial_state(self, seed):
        return uniform(seed, (self.num_envs, 2), 0.0, 1.0)[::-1]

    def observe(self, state):
        return state

    def transition(self, state, action, seed):
        state = uniform(seed, (self.num_envs, 2), 0.0, 1.0)
        return state, tf.zeros((self.num_envs,)), tf.range(self.num_envs) < 2


def rollout(env, actions, start, jit=False):
    """The states and rows [T, ...] that `actions` [T, B, ...] lead to from `start`."""

    def run(actions, start):
        return tf.scan(lambda previous, action: env.step(previous[0], action), actions, start)

    return tf.function(run, jit_compile=True)(actions, start) if jit else run(actions, start)


@pytest.mark.parametrize("jit", [False, True])
def test_rows_of_autoreset_are_exact(jit):
    """Episodes of 1, 2, 3 (terminated at the limit) and 4 (truncated at 3) transitions; the action at time t is t."""
    env = Lengths(4, max_episode_steps=3)
    start = env.reset([0, 0])
    np.testing.assert_array_equal(start[1].is_first, [True] * 4)
    np.testing.assert_array_equal(start[1].is_last, [False] * 4)
    np.testing.assert_array_equal(start[1].discount, np.ones(4, np.float32))
    np.testing.assert_array_equal(start[1].reward, np.zeros(4, np.float32))
    states, rows = rollout(env, tf.repeat(tf.range(1.0, 7.0)[:, None], 4, 1), start, jit)
    sums = [[1, 0, 3, 0, 5, 0], [1, 3, 0, 4, 9, 0], [1, 3, 6, 0, 5, 11], [1, 3, 6, 0, 5, 11]]
    rewards = [[1, 0, 3, 0, 5, 0], [1, 2, 0, 4, 5, 0], [1, 2, 3, 0, 5, 6], [1, 2, 3, 0, 5, 6]]
    first = ["01" * 3, "001" * 2, "000100", "000100"]
    last = ["10" * 3, "010" * 2, "001000", "001000"]
    discounts = ["01" * 3, "101" * 2, "110111", "111111"]
    ages = ["10" * 3, "120" * 2, "123012", "123012"]
    table = {"is_first": first, "is_last": last, "discount": discounts, "observation": sums, "reward": rewards}
    for field, want in table.items():
        want = np.array([[float(x) for x in row] for row in want]).T
        np.testing.assert_array_equal(tf.cast(getattr(rows, field), tf.float32), want, err_msg=field)
    np.testing.assert_array_equal(states.age, np.array([[int(x) for x in row] for row in ages]).T)
    np.testing.assert_array_equal(states.is_last, rows.is_last)


@pytest.mark.parametrize("limit", [None, 7])
def test_time_limit_truncates(limit):
    env = native.make_native("tf/MountainCar-v0", 4, **({} if limit is None else {"max_episode_steps": limit}))
    limit = limit or 200
    _, rows = rollout(env, tf.ones((2 * limit + 2, 4), tf.int32), env.reset([0, 1]), jit=True)
    want = np.zeros(2 * limit + 2, bool)
    want[[limit - 1, 2 * limit]] = True  # the row between the two episodes is a reset
    np.testing.assert_array_equal(rows.is_last, np.stack([want] * 4, 1))
    np.testing.assert_array_equal(rows.is_first, np.roll(np.stack([want] * 4, 1), 1, axis=0))
    np.testing.assert_array_equal(rows.discount, np.ones_like(rows.discount))
    np.testing.assert_array_equal(rows.reward, np.where(rows.is_first, 0.0, -1.0))


@pytest.mark.parametrize(
    "env_id", [pytest.param(id, marks=pytest.mark.long if "NoVel" in id else ()) for id in native.native_ids()]
)
def test_rollouts_are_the_same_eagerly_and_compiled_and_differ_between_seeds(env_id):
    env = native.make_native(env_id, 4, max_episode_steps=4)
    env.action_space.seed(0)
    actions = np.array([[env.action_space.sample() for _ in range(4)] for _ in range(11)])
    actions = actions.astype(np.int32 if actions.ndim == 2 else np.float32)
    plain, compiled = (rollout(env, actions, env.reset([0, 1]), jit) for jit in (False, True))
    for a, b in zip(tf.nest.flatten(plain), tf.nest.flatten(compiled), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    for field in ("is_first", "is_last", "discount"):
        np.testing.assert_array_equal(getattr(plain[1], field), getattr(compiled[1], field))
    assert (plain[1].is_first.numpy().sum(0) >= 2).all()
    observations = plain[1].observation.numpy()
    for seed, same in (([0, 1], True), ([0, 2], False), ([1, 1], False)):
        others = rollout(env, actions[:6], env.reset(tf.constant(seed)))[1].observation
        assert np.array_equal(observations[:6], others) == same
    assert all(env.observation_space.contains(x) for x in observations.reshape(-1, *env.observation_space.shape))


def test_random_streams_never_repeat():
    """Over resets, transitions, copies and neighbouring seeds every draw is a new one."""
    draws = []
    for seed in ([0, 1], [0, 2], [0, 3], [1, 1], [2, 1]):
        env = Noise(4)
        start = env.reset(seed)
        draws += [start[1].observation, *tf.unstack(rollout(env, tf.zeros((10, 4, 2)), start)[1].observation)]
    draws = np.concatenate(draws).ravel()
    assert len(draws) == 5 * 11 * 4 * 2
    assert len(np.unique(draws)) >= len(draws) - 2  # a grid of 2^24 points makes 0.006 coincidences likely


def test_env_state_alone_determines_the_future():
    env, actions = native.make_native("tf/CartPole-v1", 4, max_episode_steps=5), tf.ones((30, 4), tf.int32)
    states, rows = rollout(env, actions, env.reset([0, 1]))
    saved = tf.nest.map_structure(lambda x: tf.constant(x[12].numpy()), (states, rows))
    other = native.make_native("tf/CartPole-v1", 4, max_episode_steps=5)
    _, resumed = rollout(other, actions[13:], saved)
    for a, b in zip(tf.nest.flatten(rows), tf.nest.flatten(resumed), strict=True):
        np.testing.assert_array_equal(a[13:], b)


@pytest.mark.parametrize("jit", [False, True])
def test_uniform_is_the_same_compiled(jit):
    got = (tf.function(uniform, jit_compile=True) if jit else uniform)(tf.constant([3, 7]), (4,), 0.0, 1.0)
    bits = np.array([99675130, 2592316717, 301599458, 2004904982])  # Philox, TensorFlow 2.21
    np.testing.assert_array_equal(got, (bits // 256 / 2**24).astype(np.float32))


def test_recall_sequence_is_exact():
    """Delay 2: cue, two blank rows, go, end; copies 0-31 answer with the cue, the others with the next class."""
    env = native.make_native("tf/Recall-v0", 64, delay=2)
    start = env.reset([0, 1])
    cue = start[1].observation.numpy()[:, :4].argmax(-1)
    assert set(cue) == {0, 1, 2, 3}
    shown = np.concatenate([np.eye(4)[cue], np.zeros((64, 1))], -1)
    np.testing.assert_array_equal(start[1].observation, shown)
    answer = np.where(np.arange(64) < 32, cue, (cue + 1) % 4)
    actions = np.stack([cue, cue, cue, answer, cue])  # only the fourth counts; the fifth is ignored (reset)
    _, rows = rollout(env, actions, start)
    blank, go = np.zeros((64, 5)), np.tile([0.0, 0, 0, 0, 1], (64, 1))
    np.testing.assert_array_equal(rows.observation[:4], [blank, blank, go, blank])
    np.testing.assert_array_equal(rows.reward, [*np.zeros((3, 64)), np.arange(64) < 32, np.zeros(64)])
    np.testing.assert_array_equal(rows.is_last[:, 0], [False, False, False, True, False])
    np.testing.assert_array_equal(rows.discount[:, 0], [1.0, 1.0, 1.0, 0.0, 1.0])
    np.testing.assert_array_equal(rows.is_first[:, 0], [False, False, False, False, True])
    assert not np.array_equal(rows.observation[4], shown)
    np.testing.assert_array_equal(tf.reduce_sum(rows.observation[4], -1), np.ones(64))


def test_recall_needs_memory():
    """The best memory-free policy names, for each observation that rewards depend on, its most frequent cue."""
    env = native.make_native("tf/Recall-v0", 20_000, delay=0)
    start = env.reset([0, 1])
    cue = start[1].observation.numpy()[:, :4].argmax(-1)
    actions = np.stack([cue, cue, cue]).astype(np.int32)
    _, rows = rollout(env, actions, start)
    np.testing.assert_array_equal(rows.reward[1], np.ones(20_000))  # the policy with memory
    assert len(np.unique(rows.observation[0], axis=0)) == 1
    assert np.bincount(cue).max() / 20_000 < 0.26
    following = rows.observation[2].numpy()[:, :4].argmax(-1)
    assert abs(np.mean(following == cue) - 0.25) < 0.01  # the previous episode gives no hint either


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: native.make_native("tf/CartPol-v1", 2), r"Did you mean 'tf/CartPole-v1'.*Received: id='tf/CartPol-"),
        (lambda: native.make_native("Zork", 2), r"`id` must be one of \['tf/Acrobot-v1', .*\]. Received: id='Zork'"),
        (lambda: native.CartPole(0), "`num_envs` must be a positive integer. Received: num_envs=0"),
        (lambda: native.CartPole(2.0), "`num_envs` must be a positive integer. Received: num_envs=2.0"),
        (lambda: native.CartPole(2, max_episode_steps=0), "`max_episode_steps` must be a positive.*_steps=0"),
        (lambda: native.Recall(2, delay=-1), "`delay` must be an integer of at least 0. Received: delay=-1"),
        (lambda: native.CartPole(2).reset(3), r"`seed` must be an integer tensor of shape \(2,\). Received: seed=3"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_ids():
    assert set(native.native_ids()) == {f"tf/{name}" for name in [*CLASSIC, *MASKED, "Recall-v0"]}
    for env_id in native.native_ids():
        env = native.make_native(env_id, num_envs=2)
        assert type(env).__name__ == env_id[3:-3]
        assert type(env).__name__ in native.__all__
        env.close()
