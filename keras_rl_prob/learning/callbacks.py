"""The callbacks of `fit`, prepared before any data are collected."""

from typing import Any

import keras

from keras_rl_prob.envs import is_owned
from keras_rl_prob.envs.factory import BatchEnv, Env
from keras_rl_prob.learning.progress import Progress, end_line, with_progress
from keras_rl_prob.learning.progress.hints import Hints
from keras_rl_prob.learning.training import Training, mend_backups
from keras_rl_prob.types import Logs

MONITORS = keras.callbacks.EarlyStopping, keras.callbacks.ModelCheckpoint, keras.callbacks.ReduceLROnPlateau
BEST = {"return": "max", "loss": "min"}  # by the end of the monitored name


class EpochHistory(keras.callbacks.History):
    """Keras' `History`, which also keeps what was logged in each epoch.

    Attributes:
        rows: List with a dict of each epoch, `{"epoch": ..., **logs}`; epochs without a validation have no `val_...`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Keeps the numbers of an epoch."""
        super().on_epoch_end(epoch, logs)
        self.rows.append({"epoch": epoch, **(logs or {})})


def prepared(callbacks: Any, verbose: str | int, validation_freq: Any) -> list[keras.callbacks.Callback]:
    """Returns the callbacks for Keras' `fit`: adds hints, progress and history, mends backups, sets the `mode` of monitors.

    Raises:
        ValueError: A callback must be told whether the monitored value should be large or small, or a `ModelCheckpoint` would
            save epochs without a validation as the best.
    """
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        set_directions(callbacks)
        for callback in keras.tree.flatten(callbacks or []):
            if type(callback) is keras.callbacks.ModelCheckpoint and validation_freq != 1:
                _check_best(callback, validation_freq)
    mend_backups(callbacks)
    shown = with_progress(callbacks, verbose)
    return shown if isinstance(shown, keras.callbacks.CallbackList) else [Hints(), *shown, EpochHistory()]


def begin(callbacks: Any, training: Training, env: Env, made: BatchEnv) -> None:
    """Tells the callbacks that `prepared` added what will be trained.

    Args:
        callbacks: What `prepared` returned.
        training: The `Training`.
        env: The argument of `fit`.
        made: The environments that were made from it.
    """
    more = "`num_envs`" if is_owned(env) else "an id or a callable as `env`" if training.num_envs == 1 else ""
    given = callbacks.callbacks if isinstance(callbacks, keras.callbacks.CallbackList) else callbacks
    training.backups = [x for x in keras.tree.flatten(given) if isinstance(x, keras.callbacks.BackupAndRestore)]
    for callback in [] if isinstance(callbacks, keras.callbacks.CallbackList) else callbacks:
        if isinstance(callback, Hints):
            callback.begin(training, made, lambda: end_line(callbacks))
        if isinstance(callback, Progress):
            callback.begin(training.num_envs, training.steps_per_epoch, more)


def set_directions(callbacks: Any) -> None:
    """Sets the `mode` of callbacks that monitor a value, which Keras would look for only after the first epoch.

    Raises:
        ValueError: A callback must be told whether the monitored value should be large or small.
    """
    for callback in keras.tree.flatten(callbacks or []):
        if isinstance(callback, MONITORS):
            _set_direction(callback)


def _set_direction(callback):
    if callback.mode != "auto" or not getattr(callback, "save_best_only", True):
        return
    mode = next((mode for end, mode in BEST.items() if callback.monitor.endswith(end)), None)
    if mode is None:
        raise ValueError(
            f"`mode` of {type(callback).__name__} must say whether {callback.monitor!r} should be large or small: "
            '`mode="max"` or `mode="min"`. Received: mode="auto"'
        )
    callback.mode = mode


def _check_best(callback, validation_freq):
    if callback.save_best_only and callback.monitor.startswith("val_"):
        raise ValueError(
            f"Keras' `ModelCheckpoint` would save epochs without a validation as the best. Use "
            f"`krp.callbacks.BestCheckpoint({str(callback.filepath)!r})` with `validation_freq`, which skips them. "
            f"Received: monitor={callback.monitor!r} and validation_freq={validation_freq!r}"
        )
