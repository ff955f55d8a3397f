"""Environment steps per second."""

import time

import keras

from keras_rl_prob.types import Logs


class StepRate(keras.callbacks.Callback):
    """Adds `env_steps_per_second` to the logs of an epoch: environment steps per second of collecting and learning.

    Validation and callbacks do not count, nor does the first execution of a `fit`, which compiles, if its epoch has others.

    Attributes:
        steps_per_second: That of the current epoch so far, a float, or `None` before it is known.
    """

    def on_train_begin(self, logs: Logs = None) -> None:
        """Notes that nothing is compiled yet."""
        self._is_first = True

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Starts to count."""
        self._epoch = epoch
        self._steps, self._seconds = int(self.model.env_steps.numpy()), 0.0
        self.steps_per_second: float | None = None
        self._first: float | None = None

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Starts the clock."""
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Stops the clock."""
        self._seconds += time.perf_counter() - self._start
        steps = int(logs["env_steps"])
        self.steps_per_second = (steps - self._steps) / self._seconds
        budget = self.model.budget
        goes_on = budget.epoch <= self._epoch if budget else batch + 1 < (self.params["steps"] or 0)
        if self._is_first and goes_on:
            self._steps, self._seconds = steps, 0.0
            self._first, self.steps_per_second = self.steps_per_second, None
        self._is_first = False

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Adds the entry; a callback may have ended the epoch with the first execution."""
        logs["env_steps_per_second"] = self._first if self.steps_per_second is None else self.steps_per_second
