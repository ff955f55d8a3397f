"""`EvaluateReturn`: its frequency, its logs for other callbacks, and an environment opened and traced once, and closed."""

import warnings

import gymnasium
import keras
import pytest
from gymnasium import spaces

import keras_rl_prob as krp


class Numbered(gymnasium.Env):
    """Two-step episodes. Its return tells which evaluation this is: `start` in the first one, `slope` more in each other."""

    observation_space = spaces.Box(-1.0, 1.0, (1,))
    action_space = spaces.Discrete(2)
    start, slope, fails_at = 1.0, 1.0, None
    made = closed = evaluations = 0

    def __init__(self):
        type(self).made += 1

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            type(self).evaluations += 1
        self._steps = 0
        return self.observation_space.sample() * 0.0, {}

    def step(self, action):
        if self.evaluations == self.fails_at:
            raise ArithmeticError("the environment is broken")
        self._steps += 1
        reward = self.start + self.slope * (self.evaluations - 1) if self._steps == 1 else 0.0
        return self.observation_space.sample() * 0.0, reward, self._steps == 2, False, {}

    def close(self):
        type(self).closed += 1


@pytest.fixture(scope="module")
def agent():
    agent = krp.PPO(krp.networks.feed_forward(Numbered()))
    agent.compile(run_eagerly=True)
    agent.build(Numbered)
    return agent


@pytest.fixture
def env():
    """A new class for each test, since it counts."""
    return type("Counting", (Numbered,), {"made": 0, "closed": 0, "evaluations": 0})


def train(agent, callbacks, epochs=1):
    """What Keras does with callbacks in a `fit`, without the training; returns the history."""
    agent.stop_training = False
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning)  # Keras' warning about a missing metric
        together = keras.callbacks.CallbackList(callbacks, add_history=True, model=agent)
        together.on_train_begin()
        for epoch in range(epochs):
            together.on_epoch_begin(epoch)
            together.on_epoch_end(epoch, {"loss": 0.5})
            if agent.stop_training:
                break
        together.on_train_end()
    return agent.history.history


@pytest.mark.parametrize(
    ("every", "returns"), [(1, [1, 2, 3, 4, 5, 6, 7]), (3, [1, 1, 2, 2, 2, 3, 3]), (9, [1, 1, 1, 1, 1, 1, 1])]
)
def test_first_epoch_and_every_nth_are_evaluated_and_the_last_result_stays(agent, env, every, returns):
    history = train(agent, [krp.callbacks.EvaluateReturn(env, every=every, episodes=1)], epochs=7)
    assert history["eval_return"] == returns
    assert history["eval_length"] == [2.0] * 7
    assert env.evaluations == returns[-1]


def test_only_callbacks_after_it_see_the_entries(agent, env):
    seen = {}

    def watch(name):
        return keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.update({name: dict(logs)}))

    history = train(
        agent, [watch("before"), krp.callbacks.EvaluateReturn(env, episodes=1, name="hard"), watch("after")]
    )
    assert seen["after"].keys() - seen["before"].keys() == {"hard_return", "hard_length", "hard_return_std"}
    assert all(isinstance(value, float) for value in seen["after"].values())
    assert history["hard_return"] == [1.0]


def test_results_are_those_of_evaluate():
    env, arguments = "krp/CartPoleNoVel-v1", {"episodes": 3, "seed": 5, "deterministic": False}
    agent = krp.PPO()
    agent.compile(run_eagerly=True)
    agent.build(env)
    history = train(agent, [krp.callbacks.EvaluateReturn(env, **arguments)], epochs=2)
    expected = agent.evaluate(env, verbose=0, **arguments)
    assert [history["eval_return"][0], history["eval_length"][0]] == expected
    assert history["eval_return"][1] == history["eval_return"][0], "the same episodes in every evaluation"
    for name, other in {"episodes": 4, "seed": 6, "deterministic": True}.items():
        assert agent.evaluate(env, verbose=0, **arguments | {name: other}) != expected


def test_environments_are_made_once_and_closed(agent, env):
    train(agent, [krp.callbacks.EvaluateReturn(env, episodes=4)], epochs=3)
    assert (env.made, env.closed) == (4, 4)


def test_nothing_is_traced_after_the_first_evaluation(agent, env, traces):
    agent.compile(jit_compile=False)  # discards graphs traced by other tests
    traces.clear()
    after = []
    count = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: after.append(len(traces)))
    train(agent, [krp.callbacks.EvaluateReturn(env, episodes=1), count], epochs=4)
    assert after[0] > 0
    assert after == after[:1] * 4


def test_best_values_are_remembered_and_patience_counts_epochs(agent, env, tmp_path):
    env.slope = -1.0
    history = train(
        agent,
        [
            krp.callbacks.EvaluateReturn(env, every=2, episodes=1),
            keras.callbacks.ModelCheckpoint(
                tmp_path / "best_{epoch}.keras", monitor="eval_return", mode="max", save_best_only=True
            ),
            keras.callbacks.EarlyStopping("eval_return", mode="max", patience=3),
        ],
        epochs=9,
    )
    assert history["eval_return"] == [1.0, 0.0, 0.0, -1.0]
    assert [path.name for path in tmp_path.iterdir()] == ["best_1.keras"]


def test_an_exception_of_the_environment_is_raised_as_itself_and_the_callback_stays_usable(agent, env):
    callback = krp.callbacks.EvaluateReturn(env, episodes=1)
    env.fails_at = 2
    with pytest.raises(ArithmeticError, match="the environment is broken"):
        train(agent, [callback], epochs=3)
    assert (env.made, env.closed) == (1, 1)
    env.fails_at = None
    assert train(agent, [callback])["eval_return"] == [3.0]
    assert (env.made, env.closed) == (2, 2)


def test_a_training_that_was_broken_off_leaves_nothing_to_the_next(agent, env):
    closed = []
    callback = krp.callbacks.EvaluateReturn(env, every=5, episodes=1)
    count = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: closed.append(env.closed))
    stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(agent, [callback, count, stop])
    assert train(agent, [callback, count])["eval_return"] == [2.0], "an old result was repeated"
    assert closed == [0, 1]
    assert (env.made, env.closed) == (2, 2)


@pytest.mark.parametrize("argument", ["every", "episodes"])
def test_numbers_must_be_positive(argument):
    with pytest.raises(ValueError, match=f"`{argument}` must be a positive integer. Received: {argument}=0"):
        krp.callbacks.EvaluateReturn("CartPole-v1", **{argument: 0})


def test_a_wrong_environment_shows_before_the_training(agent):
    with pytest.raises(ValueError, match="must have the observation_space that the agent was built for"):
        train(agent, [krp.callbacks.EvaluateReturn("tf/CartPole-v1")], epochs=0)
