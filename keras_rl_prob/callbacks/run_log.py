"""A CSV file of a run that may be killed and resumed."""

import csv
import io
import pathlib
from typing import Any

import keras

from keras_rl_prob import checks
from keras_rl_prob.learning.persistence import write_whole
from keras_rl_prob.types import Logs, Path


class RunLog(keras.callbacks.CSVLogger):
    """Writes a line of logs after every epoch, and continues the file of an interrupted run.

    When the first epoch ends, the lines of earlier epochs are kept and all others removed: epochs that were logged after the
    last backup and are now repeated, and an incomplete last line. So every epoch is there once, and a run from epoch 0 starts a
    new file. Entries that the first epoch does not have, as with `validation_freq=5`, get a column when they appear; lines
    without a value have `NA` there, as in Keras' `CSVLogger`.

    Args:
        path: Path of the file; its folder is created if necessary.

    Raises:
        ValueError: The file exists and is not a log of epochs.

    Example:
    ```python
    agent.fit(
        "CartPole-v1",
        epochs=50,
        callbacks=[krp.callbacks.RunLog("runs/log.csv"), keras.callbacks.BackupAndRestore("runs/backup")],
    )
    ```
    """

    csv_file: Any

    def __init__(self, path: Path) -> None:
        super().__init__(checks.path("path", path), append=True)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Opens the file, so that its errors are raised before training."""
        path = pathlib.Path(self.filename)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _read(path)
        super().on_train_begin(logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Adds a line."""
        if self.writer is None or not set(logs) <= set(self.keys):
            self._continue_before(epoch, logs)
        super().on_epoch_end(epoch, logs)

    def _continue_before(self, epoch, logs):
        """Rewrites the file with the lines before `epoch` and with columns for all of `logs`."""
        self.csv_file.close()
        path = pathlib.Path(self.filename)
        rows = [row for row in _read(path) if int(row["epoch"]) < epoch]
        columns = list(dict.fromkeys(["epoch", *(rows[0] if rows else ()), *sorted(logs)]))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="NA")
        writer.writeheader()
        writer.writerows(rows)
        write_whole(path, lambda temporary: temporary.write_bytes(text.getvalue().encode()))
        self.csv_file = path.open("a", newline="", encoding="utf-8")
        self.keys, self.writer, self.append_header = columns[1:], None, False


def _read(path):
    """The complete lines of a log, a list of dicts of strings."""
    text = path.read_bytes().decode(errors="replace")
    if not text.startswith("epoch"[: len(text)]):
        raise ValueError(f"`path` must be a new file, or a CSV log of epochs to continue. Received: path={str(path)!r}")
    columns, *rows = list(csv.reader(text[: text.rfind("\n") + 1].splitlines())) or [[]]
    return [dict(zip(columns, row, strict=True)) for row in rows if len(row) == len(columns) and row[0].isdecimal()]
