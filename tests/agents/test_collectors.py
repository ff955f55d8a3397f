"""`fit(collectors=...)`: any object that can create a source collects instead of the agent."""

import functools

import keras
import numpy as np
import pytest

import keras_rl_prob as krp
from keras_rl_prob import sources

ENV = "tf/CartPole-v1"


class Own:
    """Collectors that use the source of the agent, and count their calls."""

    def __init__(self):
        self.asked = []

    def make_source(self, agent, env, seed):
        self.asked.append((env.num_envs, seed))
        return agent.make_source(env, seed)


class Late:
    """Collectors whose rollouts are two versions old."""

    def make_source(self, agent, env, seed):
        return sources.LaggedSource(agent, env, agent.resolved_sequence_length(env.num_envs), seed, lag=2)


class Replaying:
    """Collectors with the source of agents that replay."""

    def make_source(self, agent, env, seed):
        return sources.ReplaySource(agent, env, seed, agent.replay)


def impala(**arguments):
    return krp.IMPALA(krp.networks.feed_forward(ENV, (8,)), rollout_steps=4, **arguments)


def dqn():
    replay = krp.ReplaySettings(capacity=200, batch_size=8, learning_starts=8)
    return krp.DQN(krp.networks.q_network(ENV, (8,)), rollout_steps=4, updates=2, replay=replay)


def weights_of(make, collectors=None, **arguments):
    """The weights after three rollouts."""
    keras.utils.set_random_seed(0)
    agent = make(**arguments)
    agent.compile(run_eagerly=True)
    steps = 3 * agent.updates_per_rollout(2)
    agent.fit(ENV, epochs=1, steps_per_epoch=steps, num_envs=2, seed=5, verbose=0, collectors=collectors)
    return agent.get_weights()


@pytest.fixture(scope="module")
def weights_without_collectors():
    """Function from what makes an agent to its weights after three rollouts of its own."""
    return functools.cache(weights_of)


@pytest.mark.parametrize(
    ("make", "collectors", "arguments"),
    [(impala, Own(), {}), (impala, Late(), {"lag": 2}), (dqn, Replaying(), {})],
    ids=["own", "late", "replay"],
)
def test_what_collectors_make_is_learned_from(make, collectors, arguments, weights_without_collectors):
    expected = weights_of(make, **arguments) if arguments else weights_without_collectors(make)
    received = weights_of(make, collectors)
    assert all(np.array_equal(x, y) for x, y in zip(expected, received, strict=True))
    if arguments:  # rollouts of collectors are those that are learned from
        ignored = weights_without_collectors(make)
        assert not all(np.array_equal(x, y) for x, y in zip(ignored, received, strict=True))


def test_a_source_is_kept_for_as_long_as_the_collectors_are_the_same():
    first, second = Own(), Own()
    agent = impala()
    agent.compile(run_eagerly=True)
    for collectors in (first, first, second, None, second):
        agent.fit(ENV, epochs=1, steps_per_epoch=1, num_envs=2, seed=5, verbose=0, collectors=collectors)
    assert (first.asked, second.asked) == ([(2, 5)], [(2, 5), (2, 5)])


def test_an_integer_stands_for_what_was_registered(monkeypatch):
    monkeypatch.setattr("keras_rl_prob.sources.collectors._numbered", [])
    with pytest.raises(
        TypeError, match=r"`collectors` must be `None`, an integer, or an object.*Received: collectors=3"
    ):
        weights_of(impala, 3)
    made = []
    sources.register_collectors(lambda number: made.append(number) or Own())
    weights_of(impala, 3)
    assert made == [3]
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="`collectors` must be a positive integer"):
            weights_of(impala, wrong)


@pytest.mark.parametrize("wrong", ["four", Own, impala, krp.RandomAgent()])
def test_what_cannot_make_a_source_is_refused(wrong):
    agent = impala()
    agent.compile(run_eagerly=True)
    with pytest.raises(TypeError, match="`collectors` must be `None`, an integer, or an object with `make_source"):
        agent.fit(ENV, collectors=wrong)
    assert not agent.built
