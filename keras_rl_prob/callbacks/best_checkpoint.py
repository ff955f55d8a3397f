"""`BestCheckpoint`: the best of the agents that were evaluated."""

from typing import Any

import keras

from keras_rl_prob import checks
from keras_rl_prob.types import Logs, Path


class BestCheckpoint(keras.callbacks.ModelCheckpoint):
    """Keras' `ModelCheckpoint` that saves the best only, where not every epoch has a value to compare.

    `fit(validation_freq=...)` evaluates in some epochs and not in others; Keras' own callback takes the latter for the best.
    The file holds the agent alone, not where its training stands, of which the replay memory of an Atari game is gigabytes:
    a `fit` of what it holds is a new training. `BackupAndRestore` and Keras' `ModelCheckpoint` keep what an exact resume needs.

    Args:
        filepath: Where to save, a name that ends with `.keras`, or with `.weights.h5` for `save_weights_only=True`.
        monitor: Entry of an epoch's logs.
        mode: `"max"` or `"min"`.
        **kwargs: Other arguments of `keras.callbacks.ModelCheckpoint` but `save_best_only`.

    Example:
    ```python
    agent.fit(
        "CartPole-v1", epochs=100, validation_data="CartPole-v1", validation_freq=5,
        callbacks=[krp.callbacks.BestCheckpoint("best.keras")],
    )
    ```
    """

    def __init__(self, filepath: Path, monitor: str = "val_return", mode: str = "max", **kwargs: Any) -> None:
        if mode not in ("max", "min"):
            raise ValueError(f'`mode` must be "max" or "min". Received: mode={mode!r}')
        checks.text("monitor", monitor)
        super().__init__(filepath, monitor=monitor, mode=mode, save_best_only=True, **kwargs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Saves if this epoch was evaluated and is the best so far."""
        if self.monitor in (logs or {}):
            with self.model.apart_from_training():
                super().on_epoch_end(epoch, logs)
