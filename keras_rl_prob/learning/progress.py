"""The line that `fit` writes while it trains."""

import time
from typing import Any

import keras

from keras_rl_prob.types import Logs

FIRST = ("return", "length", "env_steps", "env_steps/s")


class Progress(keras.callbacks.ProgbarLogger):
    """Keras' progress bar with what matters most in front, and the environment steps per second of the epoch.

    The rate is no part of the logs: with the same seed those are the same every time.
    """

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Starts the clock."""
        super().on_epoch_begin(epoch, logs)
        self._start, self._steps, self._rate = time.perf_counter(), int(self.model.env_steps.numpy()), 0.0

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Draws, after every rollout."""
        self._rate = (int(logs["env_steps"]) - self._steps) / (time.perf_counter() - self._start)
        super().on_train_batch_end(batch, self._ordered(logs))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Draws with the results of the validation."""
        super().on_epoch_end(epoch, self._ordered(logs))

    def _ordered(self, logs):
        logs = dict(logs or {}) | {"env_steps/s": self._rate}
        return {name: logs.pop(name) for name in FIRST if name in logs} | logs


def with_progress(callbacks: Any, verbose: str | int) -> Any:
    """The callbacks of a `fit` with a `Progress`, unless it is to be silent or has a progress bar of its own."""
    if verbose == 0 or isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    callbacks = keras.tree.flatten(callbacks or [])
    if any(isinstance(callback, keras.callbacks.ProgbarLogger) for callback in callbacks):
        return callbacks
    return [*callbacks, Progress()]
