"""`evaluate` without an optimizer, with episodes that never end, and when it is interrupted."""

import _thread
import signal

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv

import keras_rl_prob as krp
from keras_rl_prob.drivers import evaluation
from keras_rl_prob.envs.native import NativeEnv


class Endless(gymnasium.Env):
    """Reward 1 per step; even episodes, counted from 0, last `length` steps, odd ones do not end."""

    observation_space, action_space = spaces.Box(0.0, 1.0, (1,)), spaces.Discrete(2)

    def __init__(self, length=3):
        self.length, self.episode, self.steps = length, -1, 0

    def reset(self, *, seed=None, options=None):
        self.episode, self.steps = 0 if seed is not None else self.episode + 1, 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(1, np.float32), 1.0, self.episode % 2 == 0 and self.steps == self.length, False, {}


class NeverOver(NativeEnv):
    observation_space, action_space = Endless.observation_space, Endless.action_space

    def initial_state(self, seed):
        return tf.zeros((self.num_envs, 1))

    def observe(self, state):
        return state

    def transition(self, state, action, seed):
        return state, tf.ones(self.num_envs), tf.zeros(self.num_envs, tf.bool)


@pytest.fixture(scope="module")
def agent():
    built = krp.A2C()
    built.build(Endless)
    return built


def test_evaluation_needs_no_optimizer(agent):
    assert not agent.compiled
    assert agent.evaluate(lambda: gymnasium.wrappers.TimeLimit(Endless(), 2), episodes=4, verbose=0) == [2.0, 2.0]


@pytest.mark.parametrize(
    ("episodes", "max_steps", "cut", "mean"), [(1, 10, 0, 3.0), (2, 10, 1, 6.5), (5, 10, 1, 6.5), (2, 3, 1, 3.0)]
)
def test_episodes_that_do_not_end_are_cut_off_and_counted(agent, episodes, max_steps, cut, mean):
    env = SyncVectorEnv([Endless])
    if cut:
        with pytest.warns(UserWarning, match=rf"^{cut} episodes.* had not ended after {max_steps} steps.*`max_steps`"):
            result = agent.evaluate(env, episodes, max_steps=max_steps, verbose=0)
    else:
        result = agent.evaluate(env, episodes, max_steps=max_steps, verbose=0)
    assert result == [mean, mean]


def test_what_one_environment_plays_longer_does_not_count(agent):
    env = SyncVectorEnv([lambda: Endless(2), lambda: gymnasium.wrappers.TimeLimit(Endless(5), 8)])
    with pytest.warns(UserWarning, match="^1 episodes"):
        result = agent.evaluate(env, 4, max_steps=9, verbose=0, return_dict=True)
    mean = (2 + 9 + 5 + 8) / 4  # the first is cut off before the other has ended its second episode
    assert result == {"return": mean, "length": mean, "return_std": pytest.approx(np.std([2, 9, 5, 8]))}


def test_native_episodes_are_cut_off_too(agent):
    with pytest.warns(UserWarning, match="^3 episodes"):
        assert agent.evaluate(NeverOver(3), 3, max_steps=40, verbose=0) == [40.0, 40.0]


def test_calls_of_any_length_play_the_same_episodes(monkeypatch):
    agent, results = krp.A2C(), []
    for seconds in (1e-9, 1e9):
        monkeypatch.setattr(evaluation, "CALL", seconds)
        results.append(agent.evaluate("tf/CartPole-v1", 6, deterministic=False, verbose=0))
    assert results[0] == results[1]
    assert results[0][0] > evaluation.FIRST_CALL


class Interrupting(Endless):
    """Ctrl-C is received during a step."""

    def step(self, action):
        if self.steps == 500:
            _thread.interrupt_main()
        return super().step(action)


@pytest.fixture
def answering():
    """Handles Ctrl-C as in a terminal; processes in the background ignore it."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


def test_an_interrupt_ends_it(agent, answering):
    with pytest.raises(KeyboardInterrupt):
        agent.evaluate(lambda: Interrupting(10**9), 2, max_steps=30_000, verbose=0)


def test_an_interrupt_ends_native_episodes_too(agent, answering, monkeypatch):
    monkeypatch.setattr(evaluation, "_next_rows", lambda rows, seconds: _thread.interrupt_main() or rows)
    with pytest.raises(KeyboardInterrupt):
        agent.evaluate(NeverOver(2), 2, max_steps=30_000, verbose=0)


@pytest.mark.parametrize(
    ("rows", "seconds", "expected"), [(16, 1e-4, 32), (16, 0.24, 32), (100, 0.4, 125), (100, 5.0, 10), (1, 9.0, 1)]
)
def test_a_call_lasts_half_a_second(rows, seconds, expected):
    assert evaluation._next_rows(rows, seconds) == expected


def test_a_callable_that_makes_a_vector_environment_is_taken(agent):
    def batch():
        return SyncVectorEnv([lambda: gymnasium.wrappers.TimeLimit(Endless(4), 4)] * 3)

    assert agent.evaluate(batch, 7, verbose=0) == [4.0, 4.0]
    assert krp.envs.spaces_of(batch) == (Endless.observation_space, Endless.action_space)
    agent.compile(run_eagerly=True)
    callback = krp.callbacks.EvaluateReturn(batch, episodes=3)
    history = agent.fit(
        batch, steps_per_epoch=1, validation_data=batch, validation_episodes=3, callbacks=[callback], verbose=0
    ).history
    assert history["val_return"] == history["eval_return"] == [4.0]


class Staircase(gymnasium.Env):
    """Episode `k`, from 1, lasts `1 + k % 3` steps of reward `k`."""

    observation_space, action_space = Endless.observation_space, Endless.action_space

    def __init__(self):
        self.episode = 0

    def reset(self, *, seed=None, options=None):
        self.episode, self.steps = 1 if seed is not None else self.episode + 1, 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(1, np.float32), self.episode, self.steps == 1 + self.episode % 3, False, {}


def test_each_episode_is_there(agent):
    """More episodes than one call of the graph can keep; those of the first environment come first."""
    result = agent.evaluate(SyncVectorEnv([Staircase, Staircase]), 2 * 200, return_dict=True, verbose=0)
    numbers = np.tile(np.arange(1, 201), 2)
    lengths = 1 + numbers % 3
    assert evaluation.KEPT < 16
    np.testing.assert_array_equal(agent.last_evaluation["length"], lengths)
    np.testing.assert_array_equal(agent.last_evaluation["return"], numbers * lengths)
    returns = numbers * lengths
    expected = {"return": returns.mean(), "length": lengths.mean(), "return_std": returns.std()}
    assert result == pytest.approx(expected)
    with pytest.warns(UserWarning, match="^2 episodes"):
        agent.evaluate(SyncVectorEnv([Staircase, Staircase]), 10, max_steps=2, verbose=0)
    assert agent.last_evaluation["length"].tolist() == [2, 2, 2, 2]  # the second one was cut off


def test_an_agent_without_an_evaluation_has_no_episodes():
    assert krp.A2C().last_evaluation is None


class Counts(gymnasium.Env):
    """The reward is 1 for action 2, which the mode of the policy is; the others are drawn at random only."""

    observation_space, action_space = spaces.Box(0.0, 1.0, (1,)), spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(1, np.float32), float(action == 2), False, self.steps == 500, {}


@pytest.fixture(scope="module")
def two():
    built = krp.A2C()
    built.build(Counts)
    logits = next(layer for layer in built.network.layers if isinstance(layer, krp.layers.DenseCategorical))
    logits.set_weights([np.zeros_like(w) + [0, 0, 9] if w.shape[-1] == 3 else w for w in logits.get_weights()])
    return built


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_epsilon_is_the_share_of_random_actions(two, epsilon):
    """An action at random is the mode itself in a third of the cases: the share of action 2 is 1 - epsilon * 2/3."""
    mean, length = two.evaluate(Counts, 20, epsilon=epsilon, verbose=0)
    assert length == 500
    deviation = np.sqrt(epsilon * 2 / 3 * (1 - epsilon * 2 / 3) / (20 * 500))
    assert mean / 500 == pytest.approx(1 - epsilon * 2 / 3, abs=4 * deviation)


def test_random_actions_obey_the_mask():
    class Masked(Counts):
        """Action 1 is never allowed."""

        observation_space = spaces.Dict({"x": Counts.observation_space, "action_mask": spaces.MultiBinary(3)})
        taken: set = set()  # noqa: RUF012

        def reset(self, **arguments):
            return {"x": super().reset(**arguments)[0], "action_mask": np.array([1, 0, 1], np.int8)}, {}

        def step(self, action):
            self.taken.add(int(action))
            observation, *rest = super().step(action)
            return {"x": observation, "action_mask": np.array([1, 0, 1], np.int8)}, *rest

    masked = krp.A2C()
    masked.evaluate(Masked, 1, epsilon=1.0, verbose=0)
    assert Masked.taken == {0, 2}


@pytest.mark.parametrize("epsilon", [-0.1, 1.1, "0.1", None, True])
def test_epsilon_is_a_probability(two, epsilon):
    for use in (two.policy, lambda **how: two.evaluate(Counts, 1, **how), lambda **how: two.play(Counts, **how)):
        with pytest.raises(ValueError, match="`epsilon` must be between 0 and 1"):
            use(epsilon=epsilon)


def test_an_environment_shows_itself_while_it_is_evaluated(two):
    class Shown(Counts):
        metadata = {"render_modes": ["human"]}  # noqa: RUF012
        render_mode = "human"
        frames = 0

        def step(self, action):
            self.frames += 1  # as Gymnasium's own do in this mode
            return super().step(action)

    env = Shown()
    two.evaluate(env, 1, verbose=0)
    assert env.frames == 500
