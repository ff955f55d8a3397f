"""Collectors in lockstep: what one of them repeats, how several are joined, and what is resumed."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from runs import (
    GYMNASIUM,
    NATIVE,
    a2c,
    compiled,
    dqn,
    ppo,
    recurrent_dqn,
    recurrent_ppo,
    reinforce,
    remembering_ppo,
    run,
    sac,
    same,
    source_of,
    train,
)

import keras_rl_prob as krp
from keras_rl_prob.distributed.crew import seed_of
from keras_rl_prob.distributed.drivers import RemoteDriver
from keras_rl_prob.drivers import Driver, EpisodeDriver
from keras_rl_prob.testing import HybridTask

ALL = [(make, env) for make in (a2c, ppo, recurrent_ppo, reinforce, dqn, recurrent_dqn) for env in (NATIVE, GYMNASIUM)]
ALL += [(remembering_ppo, GYMNASIUM), (sac, HybridTask)]
FEW = [(ppo, NATIVE), (sac, HybridTask), (remembering_ppo, GYMNASIUM)]


@pytest.mark.parametrize(
    ("make", "env"),
    [pytest.param(*case, marks=() if case in FEW else pytest.mark.long) for case in ALL],
    ids=[f"{make.__name__}-{getattr(env, '__name__', env)}" for make, env in ALL],
)
def test_one_collector_trains_as_the_agent_does_itself(engine, make, env):
    expected = run(make, env)
    assert same(expected, run(make, env, 1))
    assert len(engine.collectors) == 1


@pytest.mark.parametrize("make", [a2c, recurrent_ppo, pytest.param(reinforce, marks=pytest.mark.long)])
def test_rollouts_are_joined_in_the_order_of_collectors(engine, stack, make):
    agent = compiled(make)
    source = source_of(agent, NATIVE, krp.distributed.RayCollectors(2), stack)
    agent.network.set_weights([x + 0.1 for x in agent.network.get_weights()])  # collectors must get these
    driver = source.driver
    joined = [driver.collect() for _ in range(2)]
    specs = tf.nest.map_structure(lambda spec: (tuple(spec.shape), spec.dtype), driver.record_specs)
    assert specs == tf.nest.map_structure(lambda x: (tuple(x.shape[1:]), x.dtype), joined[0].record)
    settings = {"steps": driver.steps, "sequence_length": driver.steps, "jit_compile": False}
    first = source_of(agent, NATIVE, krp.distributed.RayCollectors(1, num_envs=2), stack, None).driver
    key = first.key
    for index in range(2):
        kind = EpisodeDriver if make is reinforce else Driver
        own = kind(agent, krp.envs.make(NATIVE, 2), seed=seed_of(5, index, 0), **settings)
        columns = slice(2 * index, 2 * index + 2)
        for number, rollout in enumerate(joined):
            now = key + [0, driver.steps * number]
            own.variables[-1].assign(tf.random.fold_in(now, index) if index else now)
            alone = own.collect()
            for name, x in alone._asdict().items():
                at = (columns,) if name in ("next_step", "next_state") else (slice(None), columns)
                tf.nest.map_structure(
                    lambda x, y, at=at: np.testing.assert_array_equal(x, y[at]), x, getattr(rollout, name)
                )


def test_several_collectors_are_reproducible_and_differ_from_each_other(engine):
    rollouts = []
    for seed in (5, 5, 6):
        agent = compiled(ppo)
        with contextlib.ExitStack() as stack:
            source = source_of(agent, NATIVE, krp.distributed.RayCollectors(2), stack, seed=seed)
            rollouts.append([source.driver.collect().observation.numpy() for _ in range(2)])
    assert np.array_equal(rollouts[0], rollouts[1])
    assert not np.array_equal(rollouts[0], rollouts[2])
    assert not np.array_equal(rollouts[0][1][:, :2], rollouts[0][1][:, 2:])


@pytest.mark.parametrize("collectors", [2, pytest.param(1, marks=pytest.mark.long)])
def test_a_run_with_native_environments_is_resumed_exactly(engine, tmp_path, collectors):
    expected = run(a2c, NATIVE, collectors)
    agent = compiled(a2c)
    train(agent, NATIVE, collectors, rollouts=2, epochs=1)
    agent.save(tmp_path / "agent.keras")
    loaded = keras.saving.load_model(tmp_path / "agent.keras")
    history = train(loaded, NATIVE, collectors, initial_epoch=1)
    assert same(
        ({key: values[1:] for key, values in expected[0].items()}, expected[1]), (history, loaded.get_weights())
    )


def test_a_budget_of_steps_counts_those_of_all_collectors(engine, capsys):
    agent, ends = compiled(a2c), []
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends.append(int(logs["env_steps"])))
    arguments = {"num_envs": 4, "seed": 5, "collectors": 2, "callbacks": [note]}
    history = agent.fit(NATIVE, env_steps=150, epochs=2, verbose=2, **arguments).history
    assert history["env_steps"] == [min(n for n in ends if n >= part) for part in (75, 150)]
    assert ends[-2] < 150 <= ends[-1] < 16 * len(ends)
    assert ends[-1] > 12 * len(ends), "some of the rows of both are resets"
    assert f"Epoch 1/2 {int(history['env_steps'][0])}/150 steps" in capsys.readouterr().out


@pytest.mark.long
def test_a_run_with_other_environments_is_resumed_as_without_collectors(engine):
    runs = []
    for collectors in (None, 1):
        agent = compiled(a2c)
        train(agent, GYMNASIUM, collectors, rollouts=2, epochs=1)
        runs.append((train(agent, GYMNASIUM, collectors, initial_epoch=1), agent.get_weights()))
    assert same(*runs)


def test_weights_go_out_once_for_all_collectors(engine):
    agent = compiled(a2c)
    train(agent, NATIVE, 2)
    assert engine.puts == 4 + 1  # rollouts, and the order
    train(agent, NATIVE, 2, seed=6)
    assert len(engine.collectors) == 4  # new ones for each training
    assert set(engine.dismissed) == set(engine.collectors)


def test_environments_of_fit_are_shared_and_those_of_collectors_are_not(engine):
    agent = compiled(a2c)
    for number, of_fit, all_of_them in ((None, 8, 8), (3, None, 12), (None, None, 32)):
        collectors = krp.distributed.RayCollectors(4, num_envs=number)
        with collectors.opened(agent, NATIVE, of_fit) as env:
            assert env.num_envs == all_of_them
    with krp.distributed.RayCollectors(5).opened(agent, NATIVE, None) as env:
        assert env.num_envs == 5 * 7  # at least the 32 of the agent
    native = krp.envs.make(NATIVE, 3)
    with krp.distributed.RayCollectors(5).opened(agent, native, None) as env:
        assert env.num_envs == 5 * 3


def test_collectors_explore_as_ape_x_says_the_more_of_them_there_are():
    from keras_rl_prob.distributed.collector import explorer

    base = krp.EpsilonGreedy(0.4)
    values = [float(explorer(base, i, 8).value(tf.constant(0, tf.int64))) for i in range(8)]
    assert values == pytest.approx([0.4 ** (1 + 5.25 * i / 7) for i in range(8)], rel=1e-5)
    assert [float(explorer(base, i, 2).value(tf.constant(0, tf.int64))) for i in range(2)] == pytest.approx([0.4, 0.4])
    last = float(explorer(base, 359, 360).value(tf.constant(0, tf.int64)))
    assert last == pytest.approx(0.4**8, rel=0.05)  # Ape-X's 360 actors
    falling = krp.EpsilonGreedy(keras.optimizers.schedules.PolynomialDecay(1.0, 100, 0.1), minimum=0.01)
    slow = explorer(falling, 1, 3)
    received = [float(slow.value(tf.constant(step, tf.int64))) for step in (0, 50, 100)]
    assert received == pytest.approx([1.0, 0.55 ** (1 + 7 / 6), 0.01], rel=1e-5)


def test_collectors_of_a_replaying_agent_have_epsilons_of_their_own(engine, stack):
    agent = compiled(lambda: dqn(exploration=krp.EpsilonGreedy(0.5)))
    driver = source_of(agent, NATIVE, krp.distributed.RayCollectors(4), stack).driver
    driver.collect()
    values = [float(x._agent.exploration_in_use.value(tf.constant(0, tf.int64))) for x in engine.collectors]
    assert values == pytest.approx([0.5 ** (1 + 3.5 * i / 3) for i in range(4)])
    reported = agent.exploration_report()["epsilon"]
    assert float(reported) == 0.5


@pytest.mark.parametrize("make", [krp.RandomAgent, krp.LinearQ])
def test_agents_that_take_no_collectors_say_so(engine, make):
    agent = make()
    agent.compile()
    with pytest.raises(ValueError, match=rf"`collectors` must be `None` for `{make.__name__}`"):
        agent.fit(NATIVE, collectors=2)
    assert not engine.collectors


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True])
def test_the_number_of_collectors_must_be_positive(wrong):
    agent = compiled(a2c)
    with pytest.raises(ValueError, match=r"`collectors` must be a positive integer\. Received: collectors="):
        agent.fit(NATIVE, collectors=wrong)
    with pytest.raises(ValueError, match=r"`num_collectors` must be a positive integer"):
        krp.distributed.RayCollectors(wrong)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "`num_envs` must be a positive integer"),
        ({"address": ""}, "`address` must be a string"),
        ({"num_cpus": 0}, "`num_cpus` must be a positive number"),
        ({"mode": "lazy"}, r"`mode` must be one of \['lockstep', 'asynchronous'\]"),
        ({"max_policy_lag": -1}, "`max_policy_lag` must be an integer of at least 0"),
        ({"max_policy_lag": 2.5}, "`max_policy_lag` must be an integer of at least 0, or `None`"),
        ({"max_restarts": 1.5}, "`max_restarts` must be an integer"),
        ({"timeout": 0.0}, "`timeout` must be a positive number"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        krp.distributed.RayCollectors(2, **arguments)


def test_rollouts_of_collectors_have_a_fixed_number_of_rows():
    with pytest.raises(ValueError, match=r"`collectors` .* fixed number of rows.* Received: {'episodes': 2}"):
        RemoteDriver(None, None, Driver, steps=4, seed=0, episodes=2)


def test_numbers_of_environments_must_fit():
    agent = compiled(a2c)
    with pytest.raises(ValueError, match=r"`num_envs` of `fit` must be a multiple .* Received: num_envs=5 for 2"):
        agent.fit(NATIVE, num_envs=5, collectors=2)
    with pytest.raises(ValueError, match="`num_envs` must be given to `fit` or to `RayCollectors`, not to both"):
        agent.fit(NATIVE, num_envs=4, collectors=krp.distributed.RayCollectors(2, num_envs=2))


def test_environments_that_are_already_made_are_refused():
    import gymnasium

    with pytest.raises(TypeError, match="pass an id, or a callable that makes the environment there"):
        compiled(a2c).fit(gymnasium.make(GYMNASIUM), collectors=2)
