"""Ctrl-C and SIGTERM while an agent trains."""

import os
import signal
from typing import Any, Self

import keras

from keras_rl_prob.types import Logs

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopOnSignal(keras.callbacks.Callback):
    """Ends training after the current epoch at the first signal; a second one ends the process at once.

    A context manager: signals have their usual handlers before and after.

    Attributes:
        received: Number of the received signal, or `None`.

    Example:
    ```python
    with StopOnSignal() as stop:
        agent.fit("CartPole-v1", epochs=100, callbacks=[stop])
    ```
    """

    def __init__(self) -> None:
        super().__init__()
        self.received = None

    def __enter__(self) -> Self:
        self._usual = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._usual.items():
            signal.signal(number, handler)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Stops training after a signal."""
        if self.received:
            self.model.stop_training = True

    def _receive(self, number, frame):
        self.received = number
        for other in SIGNALS:
            signal.signal(other, signal.SIG_DFL)
        os.write(
            2, b"\nStopping after this epoch, with everything saved. Interrupt again to stop at once.\n"
        )  # `print` is not safe here
