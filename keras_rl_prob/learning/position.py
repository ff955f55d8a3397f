"""What there is of a training besides the agent: where its environments, memory, random numbers and epochs stand."""

import json
import pathlib

import keras
import numpy as np

PREFIX = "training_"


class Training:
    """A running `fit`: the source of its updates, and the epoch that this has come to.

    Args:
        source: Has `variables`, its state as far as that can be stored, and `rollouts`, how many it has collected.
        num_envs: How many environments it steps.
        rollouts_per_epoch: Rollouts in an epoch.
        initial_epoch: Epoch at which `fit` starts.

    Attributes:
        resumed_epoch: Epoch that `restore` brought back, or `None`.
    """

    def __init__(self, source, num_envs, rollouts_per_epoch, initial_epoch):
        self.source, self._num_envs = source, num_envs
        self._rollouts_per_epoch, self._initial_epoch = rollouts_per_epoch, initial_epoch
        self._rollouts_before = source.rollouts
        self.resumed_epoch = None

    @property
    def has_begun(self):
        """Whether a rollout has been collected."""
        return self.source.rollouts > self._rollouts_before

    def position(self):
        """Dict of arrays from which `restore` continues."""
        epochs = (self.source.rollouts - self._rollouts_before) // self._rollouts_per_epoch
        variables = {f"{PREFIX}{i}": variable.numpy() for i, variable in enumerate(self.source.variables)}
        counts = {"epoch": self._initial_epoch + epochs, "num_envs": self._num_envs}
        return variables | {f"{PREFIX}{name}": np.array(count) for name, count in counts.items()}

    def restore(self, position, epoch=None):
        """Continues where `position` was taken, which is numbered `epoch`, or as it was then.

        Raises:
            ValueError: It was taken with other environments, or with another number of them.
        """
        stored = dict(position)
        then, num_envs = (int(stored.pop(f"{PREFIX}{name}")) for name in ("epoch", "num_envs"))
        stored = [stored[f"{PREFIX}{i}"] for i in range(len(stored))]
        shapes = [[list(x.shape) for x in values] for values in (stored, self.source.variables)]
        expected, received = shapes if num_envs == self._num_envs else (num_envs, self._num_envs)
        if expected != received:
            what = "environments" if num_envs == self._num_envs else "`num_envs`"
            raise ValueError(
                f"A training goes on only with the {what} that it was begun with: pass the same, or start a new training "
                f"(another backup folder, or `initial_epoch=0`). Expected: {expected}. Received: {received}"
            )
        for variable, value in zip(self.source.variables, stored, strict=True):
            variable.assign(value)
        self.resumed_epoch = self._initial_epoch = then if epoch is None else epoch
        self._rollouts_before = self.source.rollouts


def split(store):
    """The entries of a Keras `store` that belong to the agent itself, and those of its training's position."""
    entries = {key: store[key] for key in set(store.keys())}
    position = {key: np.array(entries.pop(key)) for key in list(entries) if key.startswith(PREFIX)}
    numbered = [int(name) for key in position if (name := key.removeprefix(PREFIX)).isdecimal()]
    names = [*map(str, range(max(numbered, default=-1) + 1)), "epoch", "num_envs"]
    missing = [f"{PREFIX}{name}" for name in names if f"{PREFIX}{name}" not in position]
    if position and missing:
        raise ValueError(f"The file lacks part of where its training stood. Missing: {missing}")
    return entries, position


def mend_backups(callbacks):
    """Removes what a kill can leave of a `BackupAndRestore`: its note of the epoch torn, or without the weights.

    Keras writes the weights first and the note afterwards, and deletes both when training has ended; the weights alone are
    enough, for they hold the epoch too.
    """
    for callback in keras.tree.flatten(callbacks or []):
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            folder = pathlib.Path(callback.backup_dir)
            note = folder / "training_metadata.json"
            if note.exists() and not ((folder / "latest.weights.h5").exists() and _is_json(note)):
                note.unlink()


def _is_json(path):
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True
