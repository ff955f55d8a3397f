"""Searches over agents with KerasTuner's tuners, unmodified."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import gymnasium
import keras
import keras_tuner as kt
import numpy as np
import pytest

import keras_rl_prob as krp
from keras_rl_prob.testing import HybridTask
from keras_rl_prob.tuners import HyperRecurrentPPO

ENV = "tf/CartPole-v1"
OBJECTIVE = kt.Objective("val_return", "max")
SEARCH = {"validation_data": ENV, "validation_episodes": 4, "num_envs": 4, "verbose": 0}
EPOCH = 10 * 16 * 4  # rows: rollouts in an epoch, steps in a rollout, environments

pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated, :DeprecationWarning:keras_tuner")


def narrow(**ranges):
    """`HyperParameters` for tiny agents; all others are those of `HyperRecurrentPPO`."""
    hp = kt.HyperParameters()
    for name, value in {"memory": "none", "units": 8, "minibatches": 2, "update_epochs": 2, **ranges}.items():
        (hp.Choice if isinstance(value, list) else hp.Fixed)(name, value)
    return hp


def trials_of(tuner):
    return list(tuner.oracle.trials.values())


@pytest.mark.long
def test_hyperband_goes_on_with_the_best(tmp_path):
    hp = narrow(learning_rate=[1e-3, 2e-3, 3e-3], clip_ratio=[0.1, 0.2])
    tuner = kt.Hyperband(
        HyperRecurrentPPO(ENV, rollout_steps=16),
        objective=OBJECTIVE,
        max_epochs=2,
        factor=2,
        seed=0,
        hyperparameters=hp,
        tune_new_entries=False,
        directory=tmp_path,
    )
    tuner.oracle.max_trials = 3  # two trials of one epoch, and the better one again; later ones repeat this
    tuner.search(ENV, epochs=2, **SEARCH)
    trials = {trial.trial_id: trial for trial in trials_of(tuner)}
    assert {trial.status for trial in trials.values()} == {"COMPLETED"}, [trial.message for trial in trials.values()]
    promoted = trials["2"]
    parent = trials[promoted.hyperparameters.get("tuner/trial_id")]
    assert parent.score == max(trials["0"].score, trials["1"].score)
    steps = [trial.metrics.get_best_value("env_steps") for trial in (parent, promoted)]
    assert 0.9 * EPOCH < steps[0] <= EPOCH
    assert 1.8 * EPOCH < steps[1] <= 2 * EPOCH  # one more epoch, not two and not the first one again
    agent = tuner.load_model(promoted)
    assert int(agent.optimizer.iterations) == 2 * 10 * 4
    assert agent.evaluate(ENV, episodes=4, verbose=0)[0] == promoted.score


def test_bayesian_optimization_of_a_derived_hypermodel_with_early_stopping(tmp_path):
    epochs = []

    class Mine(HyperRecurrentPPO, kt.HyperModel):
        def fit(self, hp, model, *args, **kwargs):
            history = super().fit(hp, model, *args, **kwargs)
            epochs.append(len(history.epoch))
            return history

    hp = narrow()
    hp.Float("clip_ratio", 0.1, 0.3)
    tuner = kt.BayesianOptimization(
        Mine(ENV, rollout_steps=16),
        objective=OBJECTIVE,
        max_trials=2,
        num_initial_points=1,
        seed=0,
        hyperparameters=hp,
        tune_new_entries=False,
        directory=tmp_path,
    )
    stopping = keras.callbacks.EarlyStopping("val_return", mode="max", min_delta=1e9, patience=1)
    tuner.search(ENV, epochs=50, steps_per_epoch=4, callbacks=[stopping], **SEARCH)
    assert [trial.status for trial in trials_of(tuner)] == ["COMPLETED"] * 2, trials_of(tuner)[-1].message
    assert epochs == [2, 2]  # the tuner gives every trial its own copy
    best = tuner.oracle.get_best_trials()[0]
    tuner.get_best_models()[0].save(tmp_path / "best.keras")
    agent = keras.saving.load_model(tmp_path / "best.keras")
    assert agent.evaluate(ENV, episodes=4, verbose=0)[0] == best.score


REPLAY = {
    "replay": krp.ReplaySettings(capacity=200, batch_size=8, learning_starts=16),
    "rollout_steps": 4,
    "updates": 2,
}
OFF_POLICY = {
    "SAC": ("tf/Pendulum-v1", lambda env: krp.SAC(krp.networks.stochastic_actor(env, (4,)), **REPLAY)),
    "SAC, mixed actions": (HybridTask, lambda env: krp.SAC(krp.networks.stochastic_actor(env, (4,)), **REPLAY)),
    "TD3": ("tf/Pendulum-v1", lambda env: krp.TD3(krp.networks.deterministic_actor(env, (4,)), **REPLAY)),
    "QRDQN": (ENV, lambda env: krp.QRDQN(krp.networks.q_network(env, (4,), quantiles=3), **REPLAY)),
}


@pytest.mark.parametrize(  # the other ones differ only in what `build` makes
    "kind", [pytest.param(x, marks=() if x == "SAC, mixed actions" else pytest.mark.long) for x in OFF_POLICY]
)
def test_agents_with_a_replay_buffer_are_searched_too(kind, tmp_path):
    env, make = OFF_POLICY[kind]

    def build(hp):
        keras.utils.set_random_seed(1)
        agent = make(env)
        agent.compile(keras.optimizers.SGD(hp.Choice("learning_rate", [1e-3, 1e-2])), run_eagerly=True)
        agent.build(env)
        return agent

    tuner = kt.RandomSearch(build, OBJECTIVE, 2, seed=0, directory=tmp_path)
    tuner.search(
        env, epochs=1, steps_per_epoch=2, validation_data=env, validation_episodes=2, num_envs=2, seed=0, verbose=0
    )
    assert [trial.status for trial in trials_of(tuner)] == ["COMPLETED"] * 2, trials_of(tuner)[-1].message
    best = tuner.oracle.get_best_trials()[0]
    agent = tuner.get_best_models()[0]
    assert int(agent.optimizer.iterations) == 2
    assert agent.evaluate(env, episodes=2, verbose=0)[0] == pytest.approx(best.score, abs=1e-3)


@pytest.mark.long  # that a seed decides the history and the weights: tests/agents/test_agent_surface.py
def test_a_trial_with_the_same_seed_is_the_same(tmp_path):
    hypermodel = HyperRecurrentPPO(ENV, rollout_steps=16)

    def build(hp):
        hp.Choice("repetition", [1, 2])
        keras.utils.set_random_seed(5)
        return hypermodel.build(hp)

    tuner = kt.RandomSearch(
        build, OBJECTIVE, 2, hyperparameters=narrow(repetition=[1, 2]), tune_new_entries=False, directory=tmp_path
    )
    tuner.search(ENV, epochs=1, **SEARCH)
    first, second = trials_of(tuner)
    names = ("loss", "entropy", "return", "val_return", "env_steps")
    for name in names:
        assert first.metrics.get_best_value(name) == second.metrics.get_best_value(name), name
    for a, b in zip(*(agent.weights for agent in tuner.get_best_models(2)), strict=True):
        assert (a.numpy() == b.numpy()).all()


class Counted(gymnasium.Env):
    """Episodes of one step; counts open instances."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    action_space = gymnasium.spaces.Discrete(2)
    made = 0
    is_open = 0

    def __init__(self):
        type(self).made += 1
        type(self).is_open += 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._observation = self.np_random.uniform(-1.0, 1.0, 2).astype(np.float32)
        return self._observation, {}

    def step(self, action):
        return self._observation, float(self._observation[int(action)]), True, False, {}

    def close(self):
        type(self).is_open -= 1


def build_healthy_or_not(hp):
    """An agent that is not built, as a user's function may return it."""
    case = hp.Choice("case", ["healthy", "diverges", "bad shape", "bad minibatches", "bad build"])
    if case == "bad build":
        raise KeyError("nothing to build")
    spaces = (Counted.observation_space, gymnasium.spaces.Discrete(3) if case == "bad shape" else Counted.action_space)
    agent = krp.RecurrentPPO(
        krp.networks.feed_forward(spaces, (8,)),
        rollout_steps=8,
        minibatches=7 if case == "bad minibatches" else 2,
        update_epochs=1,
    )
    agent.compile(keras.optimizers.SGD(1e38 if case == "diverges" else 1e-3), run_eagerly=True)
    return agent


def test_random_search_goes_on_after_failed_trials(tmp_path):
    tuner = kt.RandomSearch(
        build_healthy_or_not,
        objective=OBJECTIVE,
        max_trials=5,
        seed=0,
        max_consecutive_failed_trials=5,
        directory=tmp_path,
    )
    tuner.search(Counted, epochs=2, **{**SEARCH, "validation_data": Counted, "steps_per_epoch": 4})
    trials = {trial.hyperparameters.get("case"): trial for trial in trials_of(tuner)}
    assert {case: trial.status for case, trial in trials.items()} == {
        "healthy": "COMPLETED",
        "diverges": "FAILED",
        "bad shape": "FAILED",
        "bad minibatches": "FAILED",
        "bad build": "FAILED",
    }
    assert next(iter(trials)) != "healthy"  # something failed before
    for case, words in {
        "diverges": "FloatingPointError: the optimizer made weights that are not finite",
        "bad shape": "ValueError: `network`'s head",
        "bad minibatches": "ValueError: `minibatches` must divide the sequences",
        "bad build": "KeyError: 'nothing to build'",
    }.items():
        assert words in trials[case].message

    best = tuner.oracle.get_best_trials()[0]
    assert best is trials["healthy"]
    (agent,) = tuner.get_best_models()
    assert agent.evaluate(Counted, episodes=4, verbose=0)[0] == best.score
    assert int(agent.optimizer.iterations) == (best.best_step + 1) * 4
    assert agent.predict(np.zeros((1, 2)), verbose=0).shape == (1,)
    assert Counted.made > 20
    assert Counted.is_open == 0


PROCESS = """
import json, sys
import keras_tuner as kt
import keras_rl_prob as krp

hp = kt.HyperParameters()
for name, value in {"memory": "none", "units": 8, "minibatches": 2, "update_epochs": 1}.items():
    hp.Fixed(name, value)
tuner = kt.RandomSearch(
    krp.tuners.HyperRecurrentPPO("tf/CartPole-v1", rollout_steps=16), kt.Objective("val_return", "max"), 2,
    hyperparameters=hp, directory=sys.argv[1], project_name="search",
)
tuner.search(
    "tf/CartPole-v1", epochs=1, validation_data="tf/CartPole-v1", validation_episodes=4, num_envs=4, verbose=0
)
if tuner.tuner_id == "chief":
    score = tuner.oracle.get_best_trials()[0].score
    result = tuner.get_best_models()[0].evaluate("tf/CartPole-v1", episodes=4, verbose=0)
    print(json.dumps([trial.status for trial in tuner.oracle.trials.values()] + [score, result[0]]))
"""


@pytest.mark.long
def test_a_chief_and_a_worker_search_together(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    package = pathlib.Path(krp.__file__).parents[1]
    environment = {
        **os.environ,
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": port,
        "PYTHONPATH": os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    started = {}
    try:
        for name in ("chief", "worker0"):
            started[name] = subprocess.Popen(
                [sys.executable, "-c", PROCESS, tmp_path],
                env=environment | {"KERASTUNER_TUNER_ID": name},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        outputs = {name: process.communicate(timeout=150) for name, process in started.items()}
    finally:
        for process in started.values():
            process.kill()
    for name, process in started.items():
        assert process.returncode == 0, (name, outputs[name][1])
    *statuses, score, result = json.loads(outputs["chief"][0].splitlines()[-1])
    assert statuses == ["COMPLETED"] * 2
    assert score == result
    trained = sorted(path.parent.name for path in tmp_path.glob("search/trial_*/checkpoint.weights.h5"))
    assert trained == ["trial_0", "trial_1"]
    assert (tmp_path / "search" / "chief.json").exists()
