"""Histograms of actions, values and policies for TensorBoard."""

import importlib.util
import math
import time

import keras
import tensorflow as tf

from keras_rl_prob import checks, spaces
from keras_rl_prob.callbacks.trained import check_training
from keras_rl_prob.types import Logs, Path


class RolloutHistograms(keras.callbacks.Callback):
    """Writes all logs of the epoch and histograms of its last rollout for TensorBoard, over environment steps.

    Histograms, all below `rollout/`: `advantage`, `value`, `target` (of the value), `log_prob`, for agents that have these,
    `kl` with `compile(metrics=["row_kl"])`, and for each head `action` (as passed to the environment), `entropy` (for action
    values, that of their softmax) and, for continuous heads, `mean` and `stddev` of the policy. With several heads the names
    end in the head's place in the action space, as in the logs: `action_tool`, `entropy_arm_0`. Scalars, below `logs/`: all
    numbers of Keras' `History`, the terms of the loss and what `compile(metrics=...)` asked for among them, except those that
    are NaN, as `return` where no episode ended; below `training/`: `learning_rate`, `env_steps_per_second` (of collecting and
    learning, without validation and callbacks) and, with a `KLPenalty`, `kl_beta`. There are no histograms where collectors
    send gradients in place of rollouts (`A3C`).

    Keras' own `TensorBoard` writes the logs over epochs, and weights; both can be used together. Needs TensorBoard:
    `pip install "keras_rl_prob[tensorboard]"`.

    Args:
        log_dir: Folder of the event files, a separate subfolder of the `--logdir` of TensorBoard.

    Raises:
        ImportError: TensorBoard is missing.

    Example:
    ```python
    agent.fit(
        "CartPole-v1",
        epochs=10,
        callbacks=[keras.callbacks.TensorBoard("runs/tb"), krp.callbacks.RolloutHistograms("runs/tb/rollouts")],
    )
    ```
    """

    def __init__(self, log_dir: Path) -> None:
        super().__init__()
        self.log_dir = checks.path("log_dir", log_dir)
        if importlib.util.find_spec("tensorboard") is None:
            raise ImportError('`RolloutHistograms` needs TensorBoard: pip install "keras_rl_prob[tensorboard]"')

    def on_train_begin(self, logs: Logs = None) -> None:
        """Opens the event file."""
        check_training(self)
        self._writer = tf.summary.create_file_writer(self.log_dir)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Starts the clock."""
        self._start, self._steps = time.perf_counter(), int(self.model.env_steps.numpy())

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Stops the clock, after every rollout."""
        self._rate = (logs["env_steps"] - self._steps) / (time.perf_counter() - self._start)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Writes histograms and scalars."""
        with self._writer.as_default(step=int(logs["env_steps"])):
            for name, value in self._scalars().items():
                tf.summary.scalar(f"training/{name}", value)
            for name, value in logs.items():
                if not math.isnan(value):
                    tf.summary.scalar(f"logs/{name}", value)
            rollout = self.model.last_rollout
            for name, values in ({} if rollout is None else self._histograms(rollout)).items():
                tf.summary.histogram(f"rollout/{name}", values)
        self._writer.flush()

    def on_train_end(self, logs: Logs = None) -> None:
        """Closes the event file."""
        self._writer.close()

    def _scalars(self):
        scalars = {"learning_rate": self.model.optimizer.learning_rate, "env_steps_per_second": self._rate}
        if getattr(self.model, "kl_penalty", None) is not None:
            scalars["kl_beta"] = self.model.kl_beta
        return scalars

    def _histograms(self, rollout):
        """Dict of arrays with the values of all rows that are environment steps."""
        valid = rollout["valid"]
        rows = keras.tree.map_structure(lambda x: x[valid], rollout)  # [T, B, ...] to [rows, ...]
        histograms = {name: rows[name] for name in ("advantage", "value", "target", "log_prob", "kl") if name in rows}
        joint = self.model.distribution(rows["parameters"])
        heads = zip(
            spaces.graph_names(self.model.action_space),
            keras.tree.flatten(rows["action"]),
            keras.tree.flatten(joint.distributions),
            strict=True,
        )
        for name, action, distribution in heads:
            parts = {"action": action, "entropy": distribution.entropy()}
            if distribution.dtype.is_floating:
                parts |= {"mean": distribution.mean(), "stddev": distribution.stddev()}
            histograms |= {f"{part}_{name}" if name else part: values for part, values in parts.items()}
        return histograms
