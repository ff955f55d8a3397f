"""Ctrl-C and SIGTERM while an agent trains."""

import os
import signal
from typing import Any, Self

import keras

from keras_rl_prob.callbacks.trained import check_training
from keras_rl_prob.types import Logs

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopOnSignal(keras.callbacks.Callback):
    """Ends training after the current epoch at Ctrl-C or SIGTERM; a second one ends the process at once.

    The epoch is validated, logged and saved like any other, `fit` returns its `History`, and a `Backup` or `BackupAndRestore`
    among the callbacks is kept, so that the same program continues when it runs again. The command line does the same.

    As a context manager it also covers what surrounds `fit`; then signals have their usual handlers before and after.

    Attributes:
        received: Number of the received signal, or `None`.

    Raises:
        ValueError: `fit` does not run in the main thread, where Python handles signals.

    Example:
    ```python
    stop = krp.callbacks.StopOnSignal()
    agent.fit("CartPole-v1", epochs=100, callbacks=[keras.callbacks.BackupAndRestore("run/backup"), stop])
    if stop.received:
        raise SystemExit(128 + stop.received)
    ```
    """

    def __init__(self) -> None:
        super().__init__()
        self.received: int | None = None
        self._usual: dict[int, Any] = {}
        self._entered = False

    def __enter__(self) -> Self:
        self._entered = True
        self._install()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._entered = False
        self._restore()

    def on_train_begin(self, logs: Logs = None) -> None:
        """Sets the handlers."""
        check_training(self)
        if not self._usual:
            self._install()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Stops training after a signal, unless this is the last epoch."""
        if self.received and epoch + 1 < self.params["epochs"]:
            self.model.interrupt()

    def on_train_end(self, logs: Logs = None) -> None:
        """Sets the usual handlers again."""
        if not self._entered:
            self._restore()

    def _install(self):
        self.received = None
        try:
            self._usual = {number: signal.signal(number, self._receive) for number in SIGNALS}
        except ValueError as error:
            raise ValueError("`StopOnSignal` needs `fit` in the main thread, where Python handles signals") from error

    def _restore(self):
        for number, handler in self._usual.items():
            signal.signal(number, handler)
        self._usual = {}

    def _receive(self, number, frame):
        if not self._entered and not self.model.is_training:  # `fit` was left with an error
            self._restore()
            os.kill(os.getpid(), number)
            return
        self.received = number
        for other in SIGNALS:
            signal.signal(other, signal.SIG_DFL)
        os.write(
            2, b"\nStopping after this epoch, with everything saved. Interrupt again to stop at once.\n"
        )  # `print` is not safe here
