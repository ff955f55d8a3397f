"""`Backup`: `BackupAndRestore` that writes only the new part of a replay buffer."""

import pathlib
from typing import Any

import h5py
import keras

from keras_rl_prob import checks
from keras_rl_prob.callbacks.trained import check_training
from keras_rl_prob.keras_internals import backup_weights
from keras_rl_prob.learning.position import SEGMENTS
from keras_rl_prob.learning.segments import Segments
from keras_rl_prob.types import Logs, Path


class Backup(keras.callbacks.BackupAndRestore):
    """Keras' `BackupAndRestore` for agents with a large replay buffer; it writes only what an epoch has changed.

    The buffer is in the folder `memory` of the backup, in segments of 16 MB of rows each; images are compressed. At the end of
    an epoch the segments with new rows are written, then the weights file, which lists the segments. All files are written
    atomically, so that a crash at any time leaves the backup of this epoch or of the one before. Backups of `BackupAndRestore`
    can be restored too. For agents without a replay buffer the two callbacks are the same.

    Args:
        backup_dir: Folder of the backup, which must not be used for anything else.
        delete_checkpoint: Whether to remove it when training has finished.

    Raises:
        ValueError: At the beginning of training, if a segment is missing or damaged. The agent is not changed.

    Example:
    ```python
    agent = krp.DQN(replay=krp.ReplaySettings(frame_axis=0, capacity=400_000))
    agent.compile()
    agent.fit("ALE/Pong-v5", num_envs=8, epochs=200, callbacks=[krp.callbacks.Backup("runs/backup")])
    ```
    """

    def __init__(self, backup_dir: Path, delete_checkpoint: bool = True) -> None:
        super().__init__(checks.path("backup_dir", backup_dir), delete_checkpoint=delete_checkpoint)
        self._segments: Any = None

    def on_train_begin(self, logs: Logs = None) -> None:
        """Checks all segments, then restores the backup."""
        check_training(self)
        self._segments = Segments(pathlib.Path(self.backup_dir) / "memory")
        weights = backup_weights(self)
        if weights.is_file():
            with h5py.File(weights) as file:
                digests = file["vars"].get(SEGMENTS, []) if "vars" in file else []
                for digest in digests:
                    self._segments.read(digest)
        with self.model.memory_in(self._segments):
            super().on_train_begin(logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Writes the backup of the epoch."""
        with self.model.memory_in(self._segments):
            super().on_epoch_end(epoch, logs)
        self._segments.remove_others()
