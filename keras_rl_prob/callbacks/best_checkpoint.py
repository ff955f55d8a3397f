"""`BestCheckpoint`: saves the agent with the best evaluation."""

from typing import Any

import keras

from keras_rl_prob import checks
from keras_rl_prob.types import Logs, Path


class BestCheckpoint(keras.callbacks.ModelCheckpoint):
    """Keras' `ModelCheckpoint(save_best_only=True)`, for epochs without a monitored value too.

    `fit(validation_freq=...)` does not evaluate in every epoch; Keras' own callback saves in epochs without a value.
    The file has the agent only, without the training state, whose replay buffer can take gigabytes for Atari games:
    `fit` with the loaded agent starts a new training run. `BackupAndRestore` and Keras' `ModelCheckpoint` save what an exact
    resume needs.

    Args:
        filepath: Where to save, a name that ends with `.keras`, or with `.weights.h5` for `save_weights_only=True`.
        monitor: Entry of an epoch's logs.
        mode: `"max"` or `"min"`.
        **kwargs: Other arguments of `keras.callbacks.ModelCheckpoint`, except `save_best_only`.

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
