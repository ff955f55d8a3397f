"""`fit(env_steps=...)`: epochs divide the steps, the first rollout that reaches them is the last, and resumed runs go on."""

import math
import warnings

import keras
import numpy as np
import pytest

import keras_rl_prob as krp
from keras_rl_prob.cli import configs, runs
from keras_rl_prob.cli.commands import train
from keras_rl_prob.cli.errors import UserError
from keras_rl_prob.usage.program import parse

ENV, ROWS = "tf/CartPole-v1", 4 * 8


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An agent, and the file of its weights before training; the tests share its graphs."""
    agent = krp.A2C(krp.networks.feed_forward(ENV, (4,)), rollout_steps=8)
    agent.compile(jit_compile=False)
    agent.build(ENV)
    path = tmp_path_factory.mktemp("budget") / "before.weights.h5"
    agent.save_weights(path)
    return agent, path


def fit(trained, **arguments):
    agent, before = trained
    agent.load_weights(before)
    ends = []
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends.append(int(logs["env_steps"])))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Keras warns of data that have run out
        history = agent.fit(
            ENV, num_envs=4, seed=3, verbose=0, callbacks=[note, *arguments.pop("callbacks", ())], **arguments
        ).history
    return history, ends


@pytest.mark.parametrize("epochs", [1, 3, 7])
def test_epochs_divide_the_steps_and_end_with_the_first_rollout_that_reaches_their_part(trained, epochs):
    history, ends = fit(trained, env_steps=700, epochs=epochs)
    expected = [min(n for n in ends if n >= math.ceil(700 * (k + 1) / epochs)) for k in range(epochs)]
    assert history["env_steps"] == expected
    assert ends[-2] < 700 <= ends[-1], "the first rollout that reaches them is the last"
    assert len(ends) > 700 / ROWS, "rows that are no steps do not count"


def test_steps_of_earlier_runs_do_not_count_and_training_is_that_of_gradient_steps(trained):
    first, ends = fit(trained, env_steps=100)
    agent, rollouts = trained[0], len(ends)
    reached = agent.get_weights()
    second = agent.fit(ENV, env_steps=100, num_envs=4, verbose=0).history["env_steps"]
    assert first["env_steps"][0] + 100 <= second[0] < first["env_steps"][0] + 100 + ROWS
    fit(trained, steps_per_epoch=rollouts)
    for one, other in zip(agent.get_weights(), reached, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_resumed_run_ends_where_it_would_have_ended(trained, tmp_path):
    whole, _ = fit(trained, env_steps=700, epochs=5)
    weights = trained[0].get_weights()
    backup = [krp.callbacks.Backup(tmp_path, delete_checkpoint=False)]

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    trained[0].load_weights(trained[1])
    trained[0].env_steps.assign(50)  # of an earlier run
    before = (
        trained[0]
        .fit(ENV, env_steps=700, epochs=5, num_envs=4, seed=3, verbose=0, callbacks=[*backup, Stop()])
        .history["env_steps"]
    )
    trained[0].load_weights(trained[1])
    after = trained[0].fit(ENV, env_steps=700, epochs=5, num_envs=4, seed=8, verbose=0, callbacks=backup)
    assert after.epoch == [2, 3, 4]
    assert [n - 50 for n in before + after.history["env_steps"]] == whole["env_steps"]
    for variable, expected in zip(trained[0].weights, weights, strict=True):
        if variable.name != "env_steps":
            np.testing.assert_array_equal(variable.numpy(), expected)


def test_initial_epoch_of_a_new_run_leaves_the_steps_of_the_remaining_epochs(trained):
    trained[0].load_weights(trained[1])
    steps = trained[0].fit(ENV, env_steps=800, epochs=4, initial_epoch=3, num_envs=4, verbose=0).history["env_steps"]
    assert len(steps) == 1
    assert 200 <= steps[0] < 200 + ROWS


def test_other_callbacks_can_stop_earlier_and_validation_follows_every_epoch(trained):
    limit = krp.callbacks.EnvStepLimit(250)
    history, _ = fit(trained, env_steps=700, epochs=7, callbacks=[limit], validation_data=ENV, validation_episodes=1)
    assert len(history["val_return"]) == len(history["env_steps"]) == 3
    assert history["env_steps"][-1] < 250 + ROWS


@pytest.mark.parametrize("verbose", [1, 2])
def test_progress_says_of_how_many_steps_and_the_rate_is_known(trained, capsys, verbose):
    history, _ = fit(trained, env_steps=700, epochs=2, callbacks=[])
    trained[0].load_weights(trained[1])
    trained[0].fit(ENV, env_steps=700, epochs=2, num_envs=4, seed=3, verbose=verbose)
    *start, first, second = capsys.readouterr().out.strip().splitlines()
    assert start == (["4 environments, 350 steps an epoch; `num_envs` for more"] if verbose == 1 else [])
    assert f"Epoch 1/2 {int(history['env_steps'][0])}/700 steps" in first
    assert f"Epoch 2/2 {int(history['env_steps'][1])} steps" in second
    assert all(rate > 0 for rate in history["env_steps_per_second"])


REPLAY = {"capacity": 500, "batch_size": 8, "learning_starts": 64}
REPLAYING = {
    "DQN": (lambda: krp.DQN(krp.networks.q_network(ENV, (4,)), replay=krp.ReplaySettings(**REPLAY)), ENV),
    "RecurrentDQN": (
        lambda: krp.RecurrentDQN(
            krp.networks.q_network(ENV, (4,), cell="gru"),
            replay=krp.SequenceReplaySettings(**REPLAY, sequence_length=4, burn_in=0),
        ),
        ENV,
    ),
    "SAC": (lambda: krp.SAC(replay=krp.ReplaySettings(**REPLAY), updates=2), "tf/Pendulum-v1"),
}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.long if kind != "DQN" else ()) for kind in REPLAYING]
)  # the others go through the same source
def test_steps_that_only_fill_a_replay_buffer_count(kind, capsys):
    make, env = REPLAYING[kind]
    agent, ends = make(), []
    agent.compile(jit_compile=False)
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends.append(int(logs["env_steps"])))
    rows = 4 * agent.rollout_steps
    history = agent.fit(env, env_steps=300, epochs=2, num_envs=4, seed=0, callbacks=[note], verbose=1).history
    assert 64 - 4 <= ends[0] < 64 + rows, "the first update follows the rollouts that fill the buffer"
    assert history["env_steps"] == [min(n for n in ends if n >= part) for part in (150, 300)]
    assert ends[-2] < 300 <= ends[-1] < 300 + rows
    assert int(agent.optimizer.iterations) == len(ends) * agent.updates
    printed = capsys.readouterr().out
    assert f"Epoch 1/2 {ends[ends.index(history['env_steps'][0])]}/300 steps" in printed
    assert f"Epoch 2/2 {ends[-1]} steps" in printed


def test_a_bar_shows_the_part_of_the_epoch(trained):
    trained[0].env_steps.assign(1000)
    budget = krp.learning.budget.Budget(trained[0], 400, 4, 0)
    assert [budget.part(1, 1000 + n) for n in (0, 100, 150, 200, 300)] == [0.0, 0.0, 0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"env_steps": 31},
            "`env_steps` must be at least 32, the up to 32 steps of a rollout for each of the 1 epochs",
        ),
        ({"env_steps": 100, "epochs": 5}, "`env_steps` must be at least 160"),
        ({"env_steps": 0}, "`env_steps` must be a positive integer, or `None`. Received: env_steps=0"),
        ({"env_steps": 1e5}, "`env_steps` must be a positive integer"),
        ({"env_steps": 320, "steps_per_epoch": 5}, "`steps_per_epoch` must be `None` with `env_steps`"),
    ],
    ids=str,
)
def test_wrong_budgets(trained, arguments, message):
    with pytest.raises(ValueError, match=message):
        trained[0].fit(ENV, num_envs=4, verbose=0, **arguments)


def test_a_configuration_has_the_budget_and_decays_over_it():
    decay = {"class": "PolynomialDecay", "initial_learning_rate": 0.1, "end_learning_rate": 0.0, "decay_steps": None}
    config = {
        "env": {"id": ENV, "num_envs": 4},
        "agent": {"class": "PPO", "rollout_steps": 8, "entropy_coef": decay},
        "fit": {"env_steps": 321, "epochs": 2},
    }
    complete = krp.presets.complete(config)
    assert complete["fit"]["env_steps"] == 321
    assert complete["agent"]["entropy_coef"]["decay_steps"] == 11 * 16  # rollouts of 32 rows, 16 gradient steps each
    with pytest.raises(ValueError, match=r"`steps_per_epoch` must be `None`"):
        krp.presets.complete({**config, "fit": {"env_steps": 321, "steps_per_epoch": 16}})
    with pytest.raises(ValueError, match=r"`fit\.env_steps` must be a positive integer"):
        krp.presets.check({**config, "fit": {"env_steps": 0}})


def test_the_shell_has_budget_and_processes_and_more_epochs_have_as_many_steps(tmp_path):
    command = ["train", "CartPole-v1", "--env-steps", "200000", "--epochs", "4", "--env-processes", "2"]
    config = configs.from_arguments(parse(command))
    assert (config["fit"]["env_steps"], config["fit"]["epochs"], config["env"]["processes"]) == (200_000, 4, 2)
    runs.write_config(tmp_path, config)
    resumed = train.resumed(parse(["train", "--resume", str(tmp_path), "--epochs", "6"]))
    assert (resumed["fit"]["env_steps"], resumed["fit"]["epochs"]) == (300_000, 6)
    with pytest.raises(UserError, match="Only more epochs can be given"):
        train.resumed(parse(["train", "--resume", str(tmp_path), "--env-steps", "5"]))
