"""Collectors that do not wait: versions, limits, and the episodes of each."""

import numpy as np
import pytest
import tensorflow as tf
from runs import NATIVE, a2c, acer, compiled, dqn, impala, recurrent_dqn, source_of, train

import keras_rl_prob as krp
from keras_rl_prob.distributed import RayCollectors


class Order:
    """Lets results come in a given order of collectors; later ones as they come."""

    def __init__(self, engine, order):
        self.order, ready = list(order), engine.ready
        self.engine = engine

        def chosen(references, seconds):
            there = ready(references, seconds)
            starts = [x for x in there if x.method == "start"]
            if starts or not self.order:
                return starts or there
            place = self.order.pop(0)
            return [x for x in there if x.collector.place == place]

        engine.ready = chosen


def results(driver):
    return {metric.name: float(metric.result()) for metric in driver.metrics}


def taken(driver, count):
    """Ages of the next rollouts."""
    ages = []
    for _ in range(count):
        driver.metrics[2].reset_state()
        driver.collect()
        ages.append(results(driver)["policy_lag"])
    return ages


def test_each_rollout_is_as_old_as_its_weights(engine, stack):
    Order(engine, [0, 1, 1, 0, 0, 0, 0, 1, 1])
    driver = source_of(compiled(impala), NATIVE, RayCollectors(2), stack).driver
    # Both have two asked for at version 0. A new one is asked for before the next rollout is taken.
    assert taken(driver, 9) == [0, 1, 2, 3, 4 - 1, 5 - 4, 6 - 5, 7 - 2, 8 - 3]


def test_rollouts_that_are_too_old_are_dropped_and_counted(engine, stack):
    Order(engine, [0] * 5 + [1, 1, 0])
    driver = source_of(compiled(impala), NATIVE, RayCollectors(2, max_policy_lag=3), stack).driver
    ages = taken(driver, 6)
    assert ages == [0, 1, 1, 1, 1, 1]
    assert results(driver)["dropped_rollouts"] == 2.0  # the two of collector 1, of version 0


def test_by_default_the_usual_lag_of_many_collectors_is_allowed(engine, stack):
    assert [RayCollectors(n).most_lag for n in (1, 5, 6, 100)] == [20, 20, 24, 400]
    assert RayCollectors(100, max_policy_lag=0).most_lag == 0
    driver = source_of(compiled(impala), NATIVE, RayCollectors(12, num_envs=1), stack, None).driver
    assert max(taken(driver, 60)) > 20
    assert results(driver)["dropped_rollouts"] == 0.0


def test_at_most_two_rollouts_are_in_flight(engine, stack):
    driver = source_of(compiled(impala), NATIVE, RayCollectors(3), stack).driver
    for _ in range(5):
        driver.collect()
        assert sum(collector.calls["collect"] for collector in engine.collectors) - driver._version <= 3 * 2
    # One put of the weights for each version, and the order.
    assert engine.puts == 5 + 1


def test_behaviour_comes_from_the_weights_that_were_sent(engine, stack):
    agent = compiled(impala)
    driver = source_of(agent, NATIVE, RayCollectors(1), stack).driver
    parameters = []
    for number in range(4):
        rollout = driver.collect()
        parameters.append(rollout.record["parameters"].numpy())
        agent.network.set_weights([np.full_like(x, number + 1.0) for x in agent.network.get_weights()])
        expected = agent.network(agent.normalize(rollout.observation[0]))["action"]
        assert not np.allclose(parameters[-1][0], expected)
    third = driver.collect()  # asked for at version 2
    agent.network.set_weights([np.full_like(x, 3.0) for x in agent.network.get_weights()])
    np.testing.assert_allclose(third.record["parameters"][0], agent.network(third.observation[0])["action"], rtol=1e-5)


def scripted():
    return krp.testing.ScriptedEnv(0, [(7, "terminated")])


@pytest.mark.parametrize("make", [impala, acer])
def test_episodes_are_followed_for_each_collector(engine, make):
    Order(engine, [0, 1, 1, 1, 0, 1, 0, 0, 1, 1, 0, 0])
    networks = {"impala": krp.networks.feed_forward, "acer": lambda *args: krp.networks.actor_critic(*args, critic="q")}
    settings = {} if make is impala else {"replay": krp.RolloutReplaySettings(capacity=64, learning_starts=8)}
    agent = getattr(krp, make.__name__.upper())(networks[make.__name__](scripted, (8,)), rollout_steps=4, **settings)
    agent.compile(jit_compile=False)
    steps = 4 * agent.updates_per_rollout(1)
    history = agent.fit(scripted, 3, steps, num_envs=1, seed=0, verbose=0, collectors=RayCollectors(2)).history
    assert np.nanmin(history["length"]) == np.nanmax(history["length"]) == 7.0
    assert len(history["return"]) == 3
    assert set(history) >= {"policy_lag", "queue_wait", "collector_restarts", "dropped_rollouts"}
    assert np.isfinite(history["loss"]).all()


def test_a_lost_collector_takes_its_rollouts_with_it(engine):
    engine.faults = lambda *asked: "die" if asked == (1, 0, "collect", 2) else None
    agent = krp.IMPALA(krp.networks.feed_forward(scripted, (8,)), rollout_steps=4)
    agent.compile(jit_compile=False)
    history = agent.fit(scripted, 4, 4, num_envs=1, seed=0, verbose=0, collectors=2).history
    assert sum(history["collector_restarts"]) == 1.0
    assert np.nanmin(history["length"]) == np.nanmax(history["length"]) == 7.0
    lost = next(x for x in engine.collectors if (x.place, x.before) == (1, 0))
    assert engine.seen.count((1, "start")) == 2
    assert lost in engine.dismissed


def test_keys_never_repeat(engine, stack):
    seen = []
    engine.faults = lambda *_: None
    driver = source_of(compiled(impala), NATIVE, RayCollectors(2), stack).driver
    call = engine.call

    def noted(collector, method, *args):
        seen.append((collector.place, args[1].tobytes()))
        return call(collector, method, *args)

    engine.call = noted
    for _ in range(6):
        driver.collect()
    assert len({key for _, key in seen}) == len(seen) > 6


@pytest.mark.parametrize("make", [dqn, recurrent_dqn])
def test_agents_that_replay_rows_work_in_lockstep(engine, make):
    with pytest.raises(ValueError, match=r'`mode` must be "lockstep" for this `\w*DQN`, whose replay buffer'):
        train(compiled(make), NATIVE, RayCollectors(2, mode="asynchronous"))


def test_rollouts_that_the_agent_holds_back_come_in_lockstep(engine, stack):
    agent = compiled(lambda: impala(lag=2))
    with pytest.raises(ValueError, match=r'`mode` must be "lockstep" for this `IMPALA`, .* `lag=2`'):
        train(agent, NATIVE, 2)
    source = source_of(agent, NATIVE, RayCollectors(2, mode="lockstep"), stack)
    starts = [bool(tf.reduce_any(source.collect().is_first)) for _ in range(2)]
    assert starts == [True, False]


def test_an_agent_without_correction_can_be_asked_to(engine):
    history = train(compiled(a2c), NATIVE, RayCollectors(2, mode="asynchronous"))
    assert "policy_lag" in history
