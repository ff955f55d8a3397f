"""Gradients that collectors compute and send (A3C), against the steps of A2C and against the definition."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from runs import GYMNASIUM, NATIVE, compiled, run, same, source_of, train
from test_asynchronous import Order, taken

import keras_rl_prob as krp
from keras_rl_prob.distributed import RayCollectors
from keras_rl_prob.distributed.drivers import AsynchronousDriver
from keras_rl_prob.learning import failures

MASKED = "tf/CartPoleNoVel-v1"
FALLING = keras.optimizers.schedules.PolynomialDecay(0.5, 3, 0.0)


def agent_of(kind, network=None, **arguments):
    network = network or functools.partial(krp.networks.feed_forward, NATIVE, (8,))
    defaults = {"rollout_steps": 4, "normalize_observations": True, "entropy_coef": FALLING}
    return getattr(krp, kind)(network(), **defaults | arguments)


def a3c(**arguments):
    return agent_of("A3C", **arguments)


def remembering():
    return krp.networks.recurrent(MASKED, "gru", 4, shared=True)


def keys_of(seed, steps=4):
    """Random keys of the rollouts of an agent that collects itself."""
    key = AsynchronousDriver._first_key(seed).numpy()
    while True:
        yield key.copy()
        key += [0, steps]


@pytest.fixture
def local_keys(monkeypatch):
    """Lets a collector have the random keys that the agent itself would have."""
    monkeypatch.setattr("keras_rl_prob.distributed.drivers.keys", lambda seed, index: keys_of(seed))


long = pytest.mark.long


@pytest.mark.parametrize(
    ("env", "network"),
    [
        pytest.param(MASKED, remembering, id="memory"),
        pytest.param(NATIVE, None, marks=long, id="native"),
        pytest.param(GYMNASIUM, None, marks=long, id="gymnasium"),
    ],
)
def test_gradients_that_are_not_late_make_the_steps_of_a2c(engine, local_keys, monkeypatch, env, network):
    monkeypatch.setattr(AsynchronousDriver, "ahead", 1)
    expected = run(lambda: agent_of("A2C", network), env)
    received = run(lambda: agent_of("A3C", network), env, 1)
    assert set(received[0]) - set(expected[0]) == {"policy_lag", "dropped_rollouts", "queue_wait", "collector_restarts"}
    assert sum(received[0]["policy_lag"]) == 0.0
    assert same(expected, received)


def test_without_collectors_it_is_a2c():
    expected, received = (run(lambda kind=kind: agent_of(kind), NATIVE) for kind in ("A2C", "A3C"))
    assert set(expected[0]) == set(received[0])
    assert same(expected, received)


@long  # the source and the driver are those of A2C
def test_in_lockstep_it_is_a2c(engine):
    expected = run(lambda: agent_of("A2C"), NATIVE)
    assert same(expected, run(a3c, NATIVE, RayCollectors(1, mode="lockstep")))


def test_a_gradient_is_that_of_the_weights_which_were_sent(engine, stack, local_keys):
    rate, plain = 0.5, {"normalize_observations": False, "normalize_rewards": False, "entropy_coef": 0.1}
    agent, reference = (agent_of(kind, **plain) for kind in ("A3C", "A2C"))
    agent.compile(keras.optimizers.SGD(rate), jit_compile=False)
    reference.compile(run_eagerly=True)
    reference.build(NATIVE)
    own = reference.make_source(krp.envs.make(NATIVE, 4), 5)
    source = source_of(agent, NATIVE, RayCollectors(1), stack)
    reference.set_weights(agent.get_weights())
    weights, keys = [[x.numpy() for x in reference.trained_variables]], keys_of(5)
    for lag in (0, 1, 1):  # two are asked for at version 0
        for variable, value in zip(reference.trained_variables, weights[-1 - lag], strict=True):
            variable.assign(value)
        own.driver.variables[-1].assign(next(keys))
        data = reference.prepare(own.prepare(own.collect())).update(tf.constant(0))
        with tf.GradientTape() as tape:
            loss, _ = reference.loss_and_logs(data)
        slopes = tape.gradient(loss, [x.value for x in reference.trained_variables])
        weights.append([x - rate * slope.numpy() for x, slope in zip(weights[-1], slopes, strict=True)])
        source.driver.metrics[2].reset_state()
        agent.train_step(source.prepare(source.collect()))
        assert float(source.driver.metrics[2].result()) == lag
        for x, y in zip(agent.trained_variables, weights[-1], strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


@long  # test_asynchronous.py has it for rollouts
def test_gradients_that_are_too_old_are_dropped_and_counted(engine, stack):
    Order(engine, [0] * 5 + [1, 1, 0])
    source = source_of(compiled(a3c), NATIVE, RayCollectors(2, max_policy_lag=3), stack)
    assert taken(source.driver, 6) == [0, 1, 1, 1, 1, 1]
    assert float(source.driver.metrics[3].result()) == 2.0


def scripted():
    return krp.testing.ScriptedEnv(0, [(7, "terminated")])


def test_collectors_follow_their_episodes_and_statistics_are_merged(engine, tmp_path):
    Order(engine, [0, 1, 1, 1, 0, 1, 0, 0, 1, 1, 0, 0])
    engine.faults = lambda *asked: "die" if asked == (1, 0, "collect", 4) else None
    agent = compiled(lambda: a3c(network=lambda: krp.networks.feed_forward(scripted, (8,))))
    callbacks = [krp.callbacks.RolloutHistograms(tmp_path)]
    history = agent.fit(scripted, 3, 4, num_envs=1, seed=0, verbose=0, collectors=2, callbacks=callbacks).history
    assert np.nanmin(history["length"]) == np.nanmax(history["length"]) == 7.0
    assert sum(history["collector_restarts"]) == 1.0
    assert history["policy_lag"][0] > 0.0
    steps = history["env_steps"][-1]
    assert 0.8 * 12 * 4 < steps < 12 * 4  # the others are final observations
    assert float(agent.reward_normalizer.count) == float(agent.observation_normalizers[0].count) == steps
    assert agent.last_rollout is None


def with_moments(gradient, place, **changed):
    moments = list(gradient.moments)
    moments[place] = moments[place]._replace(**changed)
    return gradient._replace(moments=tuple(moments))


NAN = tf.constant(np.nan)
DAMAGED = {
    "loss": (failures.LOSS, lambda x: x._replace(loss=NAN)),
    "gradient": (failures.LOSS, lambda x: x._replace(gradients=(x.gradients[0] + NAN, *x.gradients[1:]))),
    "mean": (failures.OBSERVATION, lambda x: with_moments(x, 0, shift=x.moments[0].shift / 0.0)),
    "variance": (failures.OBSERVATION, lambda x: with_moments(x, 0, variance=-1.0 - x.moments[0].variance)),
    "count": (failures.REWARD, lambda x: with_moments(x, 1, count=-x.moments[1].count)),
    "report": (failures.MASK, lambda x: x._replace(report={**x.report, "failure": tf.constant(4.0)})),
}


def test_what_arrives_damaged_changes_nothing(engine, stack):
    agent = compiled(a3c)
    source = source_of(agent, NATIVE, RayCollectors(2), stack)
    gradient, before = source.collect(), agent.get_weights()
    names = [variable.path.rpartition("/")[2] for variable in agent.weights]
    for failure, damage in DAMAGED.values():
        agent.set_weights(before)
        agent.train_step(source.prepare(damage(gradient)))
        assert int(agent.failure) == failure
        for name, x, y in zip(names, agent.get_weights(), before, strict=True):
            assert np.isfinite(x).all()
            if name in ("kernel", "bias"):
                np.testing.assert_array_equal(x, y)
    agent.set_weights(before)
    agent.train_step(source.prepare(gradient))
    assert int(agent.failure) == failures.NONE
    assert not np.array_equal(agent.network.get_weights()[0], before[0])
    engine.faults = lambda *asked: lambda answer: answer._replace(rollout=[x[None] for x in answer.rollout])
    with pytest.raises(ValueError, match=r"must have the shapes and dtypes of the first one. Expected: \(\(\), "):
        [source.collect() for _ in range(9)]


def test_a_gradient_counts_the_same_whatever_the_scale_of_its_loss(engine, stack):
    agent = a3c()
    agent.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(), initial_scale=64.0), jit_compile=False)
    source = source_of(agent, NATIVE, RayCollectors(1), stack)
    (part,) = agent.parts()
    gradient = source.collect()
    assert float(gradient.scale) == 64.0
    agent.optimizer.dynamic_scale.assign(16.0)
    for x, y in zip(agent.loss_and_gradient(part, gradient)[2], gradient.gradients, strict=True):
        np.testing.assert_array_equal(x, y / 4.0)
    second, third = source.collect(), source.collect()  # asked for before and after the scale has changed
    assert [float(second.scale), float(third.scale)] == [64.0, 16.0]


@long
def test_a_run_is_resumed_from_its_last_epoch_with_new_collectors(engine, tmp_path):
    agent = compiled(a3c)
    steps = train(agent, NATIVE, 2, rollouts=4, epochs=1)["env_steps"][-1]
    agent.save(tmp_path / "agent.keras")
    loaded = keras.saving.load_model(tmp_path / "agent.keras")
    for x, y in zip(loaded.get_weights(), agent.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)
    history = train(loaded, NATIVE, 2, rollouts=8, initial_epoch=1)
    assert int(loaded.optimizer.iterations) == 8
    assert len(history["loss"]) == 1
    assert history["env_steps"][0] > steps + 40
    assert engine.seen.count((1, "start")) == 2


class Twice(krp.A3C):
    minibatches = 2


def test_an_agent_with_several_gradient_steps_on_a_rollout_is_refused(engine):
    agent = compiled(lambda: Twice(krp.networks.feed_forward(NATIVE, (8,)), rollout_steps=4))
    with pytest.raises(ValueError, match=r"`Twice` must have a single part and one gradient step .*: 1 parts, 2 steps"):
        train(agent, NATIVE, 2)
