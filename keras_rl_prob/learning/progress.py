"""The progress bar of `fit`."""

import time
from typing import Any

import keras

from keras_rl_prob.types import Logs

FIRST = ("return", "length", "env_steps", "env_steps/s")


class Progress(keras.callbacks.ProgbarLogger):
    """Keras' progress bar with the most important entries first, and the environment steps per second in the epoch.

    The rate is not in the logs, so that the logs of two runs with the same seed are equal.
    """

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Starts the clock."""
        super().on_epoch_begin(epoch, logs)
        self._start, self._steps, self._rate = time.perf_counter(), int(self.model.env_steps.numpy()), 0.0

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Updates the progress bar after every rollout."""
        self._rate = (int(logs["env_steps"]) - self._steps) / (time.perf_counter() - self._start)
        super().on_train_batch_end(batch, self._ordered(logs))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Updates the progress bar with the results of the validation."""
        super().on_epoch_end(epoch, self._ordered(logs))

    def _ordered(self, logs):
        logs = dict(logs or {}) | {"env_steps/s": self._rate}
        return {name: logs.pop(name) for name in FIRST if name in logs} | logs


def with_progress(callbacks: Any, verbose: str | int) -> Any:
    """Returns the callbacks of `fit` with a `Progress`, unless `verbose` is 0 or they include a progress bar."""
    if verbose == 0 or isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    callbacks = keras.tree.flatten(callbacks or [])
    if any(isinstance(callback, keras.callbacks.ProgbarLogger) for callback in callbacks):
        return callbacks
    return [*callbacks, Progress()]
