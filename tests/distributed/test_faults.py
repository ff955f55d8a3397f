"""Collectors that die, hang, raise an exception or return what they should not."""

import numpy as np
import pytest
import tensorflow as tf
from gymnasium.envs.classic_control import CartPoleEnv
from runs import NATIVE, a2c, compiled, source_of, train

import keras_rl_prob as krp
from keras_rl_prob.distributed import RayCollectors


def at(place, before, method, call, fault):
    """A function for `InProcess.faults`: the fault of one call of a collector."""
    return lambda *asked: fault if asked == (place, before, method, call) else None


@pytest.fixture
def driver(stack):
    """Makes the driver of an agent with these collectors."""
    return lambda settings, env=NATIVE, seed=5: source_of(compiled(a2c), env, settings, stack, seed=seed).driver


def rollouts(driver, count=3):
    return [[x.numpy() for x in tf.nest.flatten(driver.collect())] for _ in range(count)]


def test_a_new_collector_goes_on_with_native_environments_exactly(engine, driver):
    expected = rollouts(driver(RayCollectors(2)))
    for fault, settings in (("die", {}), ("hang", {"timeout": 0.05})):
        engine.collectors.clear()
        engine.faults = at(1, 0, "collect", 2, fault)
        received = driver(RayCollectors(2, **settings))
        tf.nest.map_structure(np.testing.assert_array_equal, expected, rollouts(received))
        assert {metric.name: float(metric.result()) for metric in received.metrics}["collector_restarts"] == 1.0
        assert [collector.place for collector in engine.collectors] == [0, 1, 1]
        assert engine.collectors[1] in engine.dismissed


def scripted():
    return krp.testing.ScriptedEnv(0, [(7, "terminated")])


def test_other_environments_start_new_episodes_and_nothing_of_old_ones_is_counted(engine):
    engine.faults = at(1, 0, "collect", 2, "die")
    agent = krp.A2C(krp.networks.feed_forward(scripted, (8,)), rollout_steps=4)
    agent.compile(jit_compile=False)
    history = agent.fit(scripted, 5, 2, num_envs=2, seed=0, verbose=0, collectors=2).history
    assert np.nanmin(history["length"]) == np.nanmax(history["length"]) == 7.0
    assert history["collector_restarts"] == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert engine.seen.count((1, "start")) == 2


def test_one_that_raises_is_replaced_and_the_others_go_on(engine, driver):
    failure = KeyError("broken")

    def answer(_):
        from keras_rl_prob.distributed.collector import Failure

        return Failure(failure)

    engine.faults = lambda place, before, method, call: answer if (place, method, call) == (1, "collect", 1) else None
    with pytest.raises(KeyError, match="broken"):
        driver(RayCollectors(2, max_restarts=2)).collect()
    assert [collector.place for collector in engine.collectors] == [0, 1, 1, 1]
    engine.collectors.clear()
    engine.faults = lambda place, before, method, call: answer if (before, method, call) == (0, "collect", 1) else None
    with pytest.raises(KeyError, match="broken"):  # all at once: no replacement helps
        driver(RayCollectors(2)).collect()
    assert [collector.place for collector in engine.collectors] == [0, 1, 0]


def test_one_that_is_lost_again_and_again_is_named(engine, driver):
    engine.faults = lambda place, before, method, call: "die" if (place, method) == (1, "collect") else None
    with pytest.raises(RuntimeError, match=r"collector 1 has been lost 3 times in turn: killed"):
        driver(RayCollectors(2, max_restarts=2)).collect()
    engine.faults = lambda place, *_: "hang" if place == 0 else None
    with pytest.raises(RuntimeError, match=r"collector 0 .* has not answered within `timeout`=0.05 seconds"):
        driver(RayCollectors(2, max_restarts=0, timeout=0.05)).collect()


class Broken(CartPoleEnv):
    def step(self, action):
        raise LookupError("no such drawer")


def test_the_exception_of_an_environment_is_raised_with_the_name_of_its_collector(engine, driver):
    with pytest.raises(LookupError, match="no such drawer") as raised:
        driver(RayCollectors(2), Broken).collect()
    assert any("Raised in collector" in note for note in raised.value.__notes__)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda arrays: arrays[:-1], r"Expected: .*Received: None"),
        (lambda arrays: [arrays[0][:-1], *arrays[1:]], r"Expected: \(\(4, 2, 4\).*Received: \(\(3, 2, 4\)"),
        (lambda arrays: [arrays[0].astype(np.float64), *arrays[1:]], r"Received: .*float64"),
    ],
    ids=["missing", "shape", "dtype"],
)
def test_what_arrives_is_checked(engine, driver, spoil, message):
    def spoiled(answer):
        return answer._replace(rollout=spoil(answer.rollout))

    engine.faults = lambda place, before, method, call: spoiled if (place, method) == (1, "collect") else None
    with pytest.raises(ValueError, match=message):
        driver(RayCollectors(2, max_restarts=0)).collect()


def test_numbers_that_are_not_finite_are_found_as_without_collectors(engine):
    def spoiled(answer):
        x = np.full_like(answer.rollout[0], np.nan)
        return answer._replace(rollout=[x, *answer.rollout[1:]])

    engine.faults = lambda place, before, method, call: spoiled if (place, method) == (1, "collect") else None
    with pytest.raises(FloatingPointError, match="an observation of the environment is not finite"):
        train(compiled(a2c), NATIVE, 2)


def test_collectors_of_other_versions_are_refused(engine, driver, monkeypatch):
    monkeypatch.setattr("keras_rl_prob.distributed.collector.VERSIONS", {"keras_rl_prob": "0.0.1"})
    engine.put = lambda value: value._replace(versions={"keras_rl_prob": "9"}) if hasattr(value, "versions") else value
    with pytest.raises(
        RuntimeError, match=r"must have the versions of the one that started them, .*9.* Received: .*0\.0\.1"
    ):
        driver(RayCollectors(2))


def test_ctrl_c_ends_the_collectors(engine, monkeypatch):
    def interrupt(answer):
        raise KeyboardInterrupt

    engine.faults = at(1, 0, "collect", 2, interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(compiled(a2c), NATIVE, 2)
    assert set(engine.dismissed) == set(engine.collectors)
