"""Several learners whose weights are averaged: against `fit`, and against the mean of agents that were trained one by one."""

import signal

import keras
import numpy as np
import pytest
from runs import NATIVE, compiled, dqn, same
from runs import a2c as agent_of

import keras_rl_prob as krp
from keras_rl_prob.distributed import fit_learners
from keras_rl_prob.distributed.crew import seed_of
from keras_rl_prob.distributed.learners import assign, state_of

SETTINGS = {"seed": 5, "num_envs": 4}


@pytest.fixture
def learned(engine, monkeypatch):
    """Trains an agent with some learners in the process of the tests; returns History and weights."""
    from in_process import connected

    monkeypatch.setattr("keras_rl_prob.distributed.learners.connected", lambda *_: connected(engine))

    def run(agent, learners, epochs=2, **arguments):
        steps = 2 * agent.updates_per_rollout(4)
        history = fit_learners(agent, NATIVE, learners, epochs, steps, **SETTINGS | arguments)
        return history.history, values(agent)

    return run


def values(agent):
    return [keras.ops.convert_to_numpy(x) for x in state_of(agent)]


def test_one_learner_is_fit(learned):
    agent = compiled(agent_of)
    history = agent.fit(NATIVE, 2, 2, verbose=0, **SETTINGS).history
    assert same((history, values(agent)), learned(compiled(agent_of), 1))


def test_two_learners_have_the_mean_of_both_after_each_epoch(learned):
    alone = [compiled(agent_of) for _ in range(2)]
    histories, total = [], 0
    for epoch in range(2):
        for index, agent in enumerate(alone):
            settings = SETTINGS | {"seed": seed_of(5, index, 0), "initial_epoch": epoch}
            histories.append(agent.fit(NATIVE, epoch + 1, 2, verbose=0, **settings).history)
        pairs = zip(*map(values, alone), strict=True)
        means = [(x + y) / 2 if x.dtype.kind == "f" else x for x, y in pairs]
        steps = sum(int(agent.env_steps) for agent in alone) - total
        for agent in alone:
            assign(agent, means)
            agent.env_steps.assign(steps)
        total = steps
    history, received = learned(compiled(agent_of), 2)
    for x, y in zip(values(alone[0]), received, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)
    assert history["env_steps"][-1] == total > 100
    losses = [x["loss"][0] for x in histories]
    np.testing.assert_allclose(history["loss"], [np.mean(losses[:2]), np.mean(losses[2:])], rtol=1e-5)


def test_callbacks_see_the_average_and_can_stop(learned):
    agent, seen = compiled(agent_of), []

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append((epoch, self.model is agent, logs["env_steps"]))
            self.model.stop_training = epoch == 1

    history, _ = learned(agent, 2, epochs=4, callbacks=[Stop()])
    assert [x[:2] for x in seen] == [(0, True), (1, True)]
    assert history["env_steps"] == [x[2] for x in seen]


def test_a_learner_that_fails_is_named_and_the_agent_stays_as_it_was(engine, learned):
    agent = compiled(agent_of)
    agent.build(NATIVE)
    before = values(agent)
    engine.faults = lambda *asked: "die" if asked == (1, 0, "learn", 1) else None
    with pytest.raises(RuntimeError, match="learner 1 has been lost: killed"):
        learned(agent, 2)
    engine.faults = lambda *asked: (
        lambda answer: (answer[0], [x * np.float32(np.nan) if x.dtype == np.float32 else x for x in answer[1]])
    )
    with pytest.raises(ValueError, match="learner 0 must be finite"):
        learned(agent, 1)
    engine.faults = lambda *_: None
    with pytest.raises(ValueError, match=r"`steps_per_epoch` must be") as raised:
        fit_learners(agent, NATIVE, 2, 1, 0, **SETTINGS)
    assert raised.value.__notes__ == ["Raised in learner 0."]
    assert len(engine.dismissed) == 2 + 1 + 2
    for x, y in zip(values(agent), before, strict=True):
        np.testing.assert_array_equal(x, y)


def test_metrics_and_monitors_are_those_of_fit(learned):
    agent = krp.A2C(krp.networks.feed_forward(NATIVE, (4,)), rollout_steps=4)
    agent.compile(jit_compile=False, metrics=["gradient_norm"])
    stop = keras.callbacks.EarlyStopping("return", patience=5)
    history, _ = learned(agent, 2, epochs=2, callbacks=[stop])
    assert len(history["gradient_norm"]) == 2
    assert all(norm > 0.0 for norm in history["gradient_norm"])
    assert stop.mode == "max"


def test_learners_begin_with_recorded_episodes(learned):
    episodes = krp.envs.record_episodes("CartPole-v1", episodes=3, seed=0)
    agent = compiled(dqn)
    agent.add_experience(episodes)
    recorded = sum(len(episode.rewards) + 1 for episode in episodes)
    history, _ = learned(agent, 1, epochs=1)
    assert history["replay_size"][0] >= min(recorded, 200) - 4 > 20


@pytest.mark.parametrize(
    "callback",
    [
        krp.callbacks.EnvStepLimit(100),
        krp.callbacks.EpisodeWindow(5),
        krp.callbacks.RolloutHistograms("logs"),
        keras.callbacks.BackupAndRestore("backup"),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_callbacks_that_cannot_work_are_refused_before_anything_starts(callback, learned, engine):
    agent = compiled(agent_of)
    with pytest.raises(ValueError, match=rf"cannot be watched.*Received: {type(callback).__name__}"):
        learned(agent, 2, callbacks=[callback])
    assert not engine.collectors


def test_signals_are_not_caught_for_a_training_that_does_not_know_them(learned):
    usual = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="`StopOnSignal` must be among the `callbacks` of an agent's own `fit`"):
        learned(compiled(agent_of), 2, callbacks=[krp.callbacks.StopOnSignal()])
    assert signal.getsignal(signal.SIGTERM) is usual


def test_wrong_arguments_are_named():
    agent = krp.A2C()
    with pytest.raises(ValueError, match="`agent` must be compiled"):
        fit_learners(agent, NATIVE, 2)
    agent.compile()
    with pytest.raises(ValueError, match="`learners` must be"):
        fit_learners(agent, NATIVE, 0)
    with pytest.raises(TypeError, match=r"pass an id, or a callable .* which is already made"):
        fit_learners(agent, krp.testing.ScriptedEnv(0, [(7, "terminated")]), 2)
