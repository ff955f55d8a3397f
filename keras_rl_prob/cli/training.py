"""Training in a run folder, from the beginning or resumed."""

import pathlib
import warnings
from typing import Any

import keras
import tensorflow as tf

from keras_rl_prob import callbacks, presets
from keras_rl_prob.agents import Agent
from keras_rl_prob.agents.arguments import evaluation_envs
from keras_rl_prob.cli import configs, runs
from keras_rl_prob.cli.errors import UserError, blaming
from keras_rl_prob.distributed import RayCollectors
from keras_rl_prob.envs import in_processes
from keras_rl_prob.learning.budget import check_rows, checked_steps
from keras_rl_prob.types import Logs


def is_complete(folder: pathlib.Path, config: dict[str, Any]) -> bool:
    """Whether a run has finished."""
    return (folder / runs.FINAL).is_file() and len(runs.log_rows(folder)) >= config["fit"]["epochs"]


def built(config: dict[str, Any]) -> Agent:
    """The agent of a complete configuration, built for its environment, with weights determined by the `seed`.

    Raises:
        UserError: It cannot be made, or be trained with these numbers of environments, processes and steps.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(config["seed"])
    with blaming(None, *configs.WRONG):
        agent = presets.build(config)
        agent.build(presets.make_env(config))
        env, steps, epochs = config["env"], config["fit"]["env_steps"], config["fit"]["epochs"]
        checked_steps(steps, config["fit"]["steps_per_epoch"])
        if env["processes"] is not None:
            in_processes(presets.make_env(config), env["processes"], env["num_envs"], agent.default_num_envs)
        if steps is not None:
            check_rows(steps, epochs, getattr(agent, "rollout_steps", 1) * (env["num_envs"] or agent.default_num_envs))
    return agent


def check_collectors(agent: Agent, config: dict[str, Any], address: str | None) -> None:
    """Raises a `UserError` unless the collectors of a configuration, if it has any, fit the agent and Ray is installed."""
    collectors = _collectors(config, address)
    if address is not None and collectors is None:
        raise UserError("--address needs --collectors N")
    if collectors is not None:
        with blaming(None, ValueError, ImportError):
            collectors.check(agent, config["env"]["num_envs"])


def _collectors(config, address):
    count = config["env"]["collectors"]
    return None if count is None else RayCollectors(count, address=address)


def fit(agent: Agent, folder: pathlib.Path, config: dict[str, Any], address: str | None = None) -> int | None:
    """Trains an agent in its run folder, resuming its backup if there is one; returns the signal that stopped it, or `None`.

    Args:
        agent: An agent that was built for the configuration.
        folder: Folder of the run.
        config: A complete configuration.
        address: Address of a Ray cluster for its collectors, or `None`.
    """
    collectors, num_envs = _collectors(config, address), config["env"]["num_envs"]
    own = None if collectors is None else collectors.share(agent, num_envs)
    env, epochs, episodes = (
        presets.make_env(config, num_envs=own),
        config["fit"]["epochs"],
        config["fit"]["validation_episodes"],
    )
    print(
        f"{type(agent).__name__} on {config['env']['id']}, seed {config['seed']}, until epoch {epochs}, in {folder}",
        flush=True,
    )
    broken = f"Training in {folder} failed. To continue: keras-rl-prob train --resume {folder}. The reason"
    reasons = OSError, tf.errors.ResourceExhaustedError  # a full disk raises either
    with (
        callbacks.StopOnSignal() as stop,
        blaming(f"{folder} cannot be resumed", RestoreError),
        blaming(broken, *reasons),
    ):
        agent.fit(
            env,
            **config["fit"],
            validation_data=presets.make_env(config, validation=True, num_envs=evaluation_envs(episodes, 1)),
            num_envs=num_envs,
            collectors=collectors,
            env_processes=config["env"]["processes"],
            seed=config["seed"],
            callbacks=[*_recorders(folder, config), stop, Backup(folder / "backup", delete_checkpoint=False)],
        )
    if stop.received and len(runs.log_rows(folder)) < epochs:
        return stop.received
    agent.save(folder / runs.FINAL)
    return None


class RestoreError(Exception):
    """A backup does not fit the agent or the run."""


class Backup(callbacks.Backup):
    """`krp.callbacks.Backup` whose errors name the run folder."""

    def on_train_begin(self, logs: Logs = None) -> None:
        """Restores the backup."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns about each layer before it raises
            try:
                super().on_train_begin(logs)
            except Exception as error:
                raise RestoreError(f"its backup cannot be restored. {error}") from error


def _recorders(folder, config):
    """The callbacks that write to a run folder."""
    best = [float(row["val_return"]) for row in runs.log_rows(folder) if row.get("val_return", "NA") != "NA"]
    recorders = [
        callbacks.BestCheckpoint(folder / runs.BEST, initial_value_threshold=max(best, default=None)),
        callbacks.RunLog(folder / runs.LOG),
    ]
    title = f"{config['name']}, seed {config['seed']}"
    try:
        recorders.append(callbacks.PlotLearningCurve(folder / runs.CURVE, title, log=folder / runs.LOG))
    except ImportError as error:
        print(f"Without {runs.CURVE}. {error}")
    try:
        recorders.append(callbacks.RolloutHistograms(folder / "tensorboard" / "rollouts"))
        recorders.append(keras.callbacks.TensorBoard(folder / "tensorboard"))
    except ImportError as error:
        print(f"Without TensorBoard. {error}")
    return recorders
