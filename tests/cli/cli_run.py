"""The run that the tests of all commands use: how it is trained, and what can be read from it."""

import csv

import keras
import numpy as np

SETTINGS = {
    "env.num_envs": "4",
    "agent.rollout_steps": "16",
    "agent.minibatches": "2",
    "agent.update_epochs": "1",
    "optimizer.learning_rate": "0.003",
    "compile.run_eagerly": "true",
    "fit.steps_per_epoch": "4",
    "fit.validation_episodes": "4",
}
TINY = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
TRAIN = ["train", "--config", "cartpole", "--seed", "5", *TINY]  # with `--epochs 3` this is `finished`


def only(folder):
    """The only entry of a folder."""
    (content,) = folder.iterdir()
    return content


def rows(run):
    """The lines of a run's log, without the speed, which differs from run to run."""
    with (run / "log.csv").open(newline="") as file:
        return [{name: x for name, x in row.items() if name != "env_steps_per_second"} for row in csv.DictReader(file)]


def state(run, name="final.keras"):
    """All numbers of an agent in a file."""
    agent = keras.saving.load_model(run / name)
    return [variable.numpy() for variable in (*agent.variables, *agent.optimizer.variables)]


def same_state(a, b):
    states = state(a), state(b)
    return len(states[0]) > 20 and all(map(np.array_equal, *states))
