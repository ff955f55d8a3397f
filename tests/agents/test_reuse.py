"""Graphs are reused only for equal settings: no environment is stepped by a graph traced for another."""

import json
import pathlib
import subprocess
import sys

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import keras_rl_prob as krp
from keras_rl_prob.envs.native import CartPole, NativeEnv
from keras_rl_prob.sources import RolloutSource


class Paying(NativeEnv):
    """Episodes of two steps, whose rewards depend on attributes of all kinds."""

    observation_space = spaces.Box(-1.0, 1.0, (1,))
    action_space = spaces.Discrete(2)
    max_episode_steps = 2
    per_class = 0.0

    def __init__(self, num_envs, wage=1.0):
        super().__init__(num_envs)
        self.wage, self.array, self.nested = wage, np.zeros(2), {"list": [0.0, (0.0,)]}
        self.tensor, self.inner, self.opaque = tf.constant(0.0), None, OPAQUE

    def initial_state(self, seed):
        return tf.zeros((self.num_envs, 1))

    def observe(self, state):
        return state

    def bonus(self):
        return 0.0

    def transition(self, state, action, seed):
        paid = self.wage + self.per_class + self.array[1] + self.nested["list"][1][0] + self.bonus()
        paid += self.opaque.value + (self.inner.wage if self.inner else 0.0)
        return state, tf.fill((self.num_envs,), float(paid)) + self.tensor, tf.zeros((self.num_envs,), tf.bool)


class Box:
    """An object whose attributes are not compared."""

    def __init__(self, value):
        self.value = value


OPAQUE = Box(0.0)


class PayingGym(gymnasium.Env):
    """The same in Python; the episodes get longer if its limit is changed."""

    observation_space, action_space = Paying.observation_space, Paying.action_space

    def __init__(self, wage=1.0):
        self.wage, self.limit, self.closed = wage, 2, False

    def reset(self, *, seed=None, options=None):
        if self.closed:
            raise RuntimeError("the shop is closed")
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(1, np.float32), self.wage, False, self.steps >= self.limit, {}

    def close(self):
        self.closed = True


def make_agent(**compiled):
    keras.utils.set_random_seed(1)
    agent = krp.PPO(
        krp.networks.feed_forward((Paying.observation_space, Paying.action_space), (4,)),
        rollout_steps=8,
        minibatches=1,
        update_epochs=1,
    )
    agent.compile(**{"jit_compile": False, **compiled})
    return agent


@pytest.fixture(scope="module")
def agent():
    """One agent for all tests, so that each of them has the graphs of the others."""
    return make_agent()


def played(agent, env):
    """Returns from `evaluate` and from `fit`."""
    evaluated = agent.evaluate(env, episodes=4, verbose=0, return_dict=True)["return"]
    return evaluated, agent.fit(env, epochs=1, steps_per_epoch=1, verbose=0).history["return"][0]


CHANGES = {
    "number": lambda env, patch: setattr(env, "wage", 2.0),
    "class attribute": lambda env, patch: patch.setattr(Paying, "per_class", 1.0),
    "entry of an array": lambda env, patch: env.array.__setitem__(1, 1.0),
    "entry of a nested list": lambda env, patch: env.nested["list"].__setitem__(1, (1.0,)),
    "tensor": lambda env, patch: setattr(env, "tensor", tf.constant(1.0)),
    "method": lambda env, patch: patch.setattr(Paying, "bonus", lambda self: 1.0),
    "method of one object": lambda env, patch: setattr(env, "bonus", lambda: 1.0),
    "inner environment": lambda env, patch: setattr(env, "inner", Paying(4)),
    "another object in place of an object": lambda env, patch: setattr(env, "opaque", Box(1.0)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_attribute_of_a_native_environment_is_noticed(change, agent, monkeypatch):
    def results(env):
        return played(agent, env) if change == "number" else tuple(agent.evaluate(env, episodes=4, verbose=0)[:1])

    env = Paying(4)
    before = results(env)
    CHANGES[change](env, monkeypatch)
    assert results(env) == tuple(2.0 * x for x in before)
    assert set(before) == {2.0}


def test_an_attribute_of_an_inner_environment_is_noticed(agent):
    env = Paying(4)
    env.inner = Paying(4, wage=0.0)
    assert played(agent, env) == (2.0, 2.0)
    env.inner.wage = 1.0
    assert played(agent, env) == (4.0, 4.0)


def test_what_changes_inside_an_object_takes_no_effect_as_documented(agent):
    env = Paying(4)
    env.opaque = Box(0.0)
    assert played(agent, env) == (2.0, 2.0)
    env.opaque.value = 1.0
    assert played(agent, env) == (2.0, 2.0)
    assert "have no effect on existing graphs" in " ".join(NativeEnv.__doc__.split())


def test_where_episodes_begin_is_that_of_the_environment_handed_in(agent):
    """Also if the traced environment has changed since then, and another one is as it was."""

    class Starting(Paying):
        def __init__(self):
            super().__init__(4)
            self.start = [0.25]

        def initial_state(self, seed):
            return tf.fill((self.num_envs, 1), self.start[0])

        def transition(self, state, action, seed):
            return state, state[:, 0], tf.zeros((self.num_envs,), tf.bool)

    first = Starting()
    assert played(agent, first) == (0.5, 0.5)
    first.start[0] = 0.75
    assert played(agent, Starting()) == (0.5, 0.5)
    assert played(agent, first) == (1.5, 1.5)


def test_equal_environments_share_what_was_traced_and_others_do_not(agent, traces):
    assert played(agent, Paying(4)) == (2.0, 2.0)
    traces.clear()
    assert played(agent, Paying(4)) == (2.0, 2.0)
    assert traces == []
    assert played(agent, Paying(4, wage=3.0)) == (6.0, 6.0)
    assert traces != []
    assert CartPole(2).signature == CartPole(2).signature != CartPole(3).signature
    assert krp.envs.make("tf/CartPole-v1", 2).signature != krp.envs.make("tf/CartPoleNoVel-v1", 2).signature
    assert CartPole(2).signature != CartPole(2, max_episode_steps=7).signature


def test_a_changed_python_environment_is_played_as_it_is(agent, traces):
    env = PayingGym()
    assert played(agent, env) == (2.0, 2.0)
    traces.clear()
    env.unwrapped.wage = 2.0
    env.limit = 4
    assert played(agent, env) == (8.0, 8.0)
    assert played(agent, PayingGym(wage=5.0)) == (10.0, 10.0)
    assert traces == [], "a Python environment was traced again though only its values differ"


def test_a_closed_environment_is_not_played_and_another_one_is(agent):
    env = PayingGym()
    assert played(agent, env) == (2.0, 2.0)
    env.close()
    for play in (agent.evaluate, agent.fit):
        with pytest.raises(RuntimeError, match="the shop is closed"):
            play(env, verbose=0)
    assert played(agent, PayingGym()) == (2.0, 2.0)
    vector_env = gymnasium.vector.SyncVectorEnv([PayingGym] * 2)
    assert played(agent, vector_env) == (2.0, 2.0)
    vector_env.close()
    with pytest.raises(RuntimeError, match="the shop is closed"):
        agent.fit(vector_env, verbose=0)


def test_environments_that_the_agent_made_are_gone_after_use(agent):
    made = []

    def maker():
        made.append(PayingGym())
        return made[-1]

    agent.evaluate(maker, episodes=4, verbose=0)
    agent.fit(maker, num_envs=2, steps_per_epoch=1, verbose=0)
    assert [env.closed for env in made] == [True] * 6
    kept = [placeholder for _, (placeholder, _) in agent._graphs._sources._pairs]
    kept += [placeholder for _, (_, placeholder) in agent._graphs._players._pairs]
    assert len(kept) >= 2
    assert all(getattr(env, "vector_env", None) is None for env in kept)


def test_another_number_of_environments_and_another_seed(tmp_path):
    env = "CartPole-v1"

    def trained(agent, num_envs, seed):
        agent.load_weights(path)
        agent.fit(env, num_envs=num_envs, seed=seed, steps_per_epoch=4, verbose=0)
        return agent.network.get_weights()

    def made():
        network = krp.networks.feed_forward(env, (4,))
        agent = krp.PPO(network, rollout_steps=8, minibatches=1, update_epochs=1)
        agent.compile(jit_compile=False)
        agent.build(env)
        return agent

    kept, path = made(), tmp_path / "fresh.weights.h5"
    kept.save_weights(path)
    again = {case: trained(kept, *case) for case in ((4, 1), (2, 1), (2, 2))}
    assert all(map(np.array_equal, trained(made(), 2, 2), again[2, 2]))
    assert not np.array_equal(again[4, 1][0], again[2, 1][0])
    assert not np.array_equal(again[2, 1][0], again[2, 2][0])


@pytest.fixture(scope="module")
def other():
    """Another agent."""
    return make_agent()


@pytest.mark.parametrize(
    "make_env", [lambda: Paying(4), pytest.param(PayingGym, marks=pytest.mark.long)], ids=["native", "Python"]
)
def test_one_environment_in_two_agents(agent, other, make_env):
    env = make_env()
    for _ in range(2):
        for one in (agent, other):
            assert played(one, env) == (2.0, 2.0)
    env.wage = 2.0
    assert played(other, env) == played(agent, env) == (4.0, 4.0)


def test_an_evaluation_within_a_training_on_the_same_kind_of_environment(agent):
    class Evaluate(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(self.model.evaluate(PayingGym(wage=7.0), episodes=2, verbose=0, return_dict=True)["return"])

    seen, validation = [], PayingGym(wage=3.0)
    callbacks = [Evaluate(), krp.callbacks.EvaluateReturn(PayingGym(wage=5.0), episodes=2)]
    history = agent.fit(
        PayingGym(),
        epochs=3,
        steps_per_epoch=1,
        validation_data=validation,
        validation_episodes=2,
        callbacks=callbacks,
        verbose=0,
    ).history
    assert history["return"] == [2.0] * 3
    assert history["val_return"] == [6.0] * 3
    assert history["eval_return"] == [10.0] * 3
    assert seen == [14.0] * 3


def test_a_number_that_was_changed_takes_effect_at_the_next_fit(agent, tmp_path, monkeypatch):
    env, path = PayingGym(), tmp_path / "before.weights.h5"
    played(agent, env)
    agent.save_weights(path)

    def loss():
        agent.load_weights(path)
        return agent.fit(env, epochs=1, steps_per_epoch=1, seed=1, verbose=0).history["loss"]

    before = loss()
    assert loss() == before
    monkeypatch.setattr(agent, "discount", 0.0)
    assert loss() != before


def test_compiling_again_makes_anew_what_it_must(agent, traces):
    env = Paying(4)
    played(agent, env)
    traces.clear()
    agent.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    before = agent.network.get_weights()[0]
    assert played(agent, env) == (2.0, 2.0)
    assert np.array_equal(agent.network.get_weights()[0], before), "the optimizer of before was used"
    assert "learn" in traces
    assert "play" in traces
    agent.compile(run_eagerly=True)
    traces.clear()
    assert played(agent, env) == (2.0, 2.0)
    assert "learn" not in traces
    agent.compile(jit_compile=False)


def test_nothing_is_compiled_twice():
    """In a separate process, whose logs show what XLA compiles."""
    script = pathlib.Path(__file__).parents[2] / "benchmarks" / "compilations.py"
    command = [sys.executable, script, "--json", "--small", "--agents", "PPO"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    calls = {row["call"]: row for row in json.loads(run.stdout)["calls"]}
    counts = {call: (row["traces"], row["compilations"]) for call, row in calls.items()}
    assert counts["first fit"][1] == 2, "a rollout, and the updates on it"
    assert counts["evaluate"] == (1, 1)
    for call in ("second fit", "evaluate again", "fit 5, validated", "5 epochs"):
        assert counts[call] == (0, 0), call


def test_a_source_keeps_its_iterator_unless_something_was_raised_in_a_training(monkeypatch):
    made = []
    dataset = RolloutSource.dataset
    monkeypatch.setattr(RolloutSource, "dataset", lambda source: made.append(source) or dataset(source))
    agent = krp.A2C(krp.networks.feed_forward("tf/CartPole-v1", (4,)), rollout_steps=2)
    agent.compile(run_eagerly=True)
    train = {"env": "tf/CartPole-v1", "num_envs": 2, "steps_per_epoch": 2, "verbose": 0}
    agent.fit(**train)
    agent.fit(**train)
    assert len(made) == 1
    broken = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        agent.fit(**train, callbacks=[broken])
    assert len(made) == 1
    agent.fit(**train)
    assert len(made) == 2
    assert made[0] is made[1]
