"""The training state besides the agent: environment states, replay buffer, random keys and epoch."""

import json
import pathlib
from typing import Any

import keras

from keras_rl_prob.keras_internals import BACKUP_FILES
from keras_rl_prob.learning.budget import Budget
from keras_rl_prob.learning.position import Position


class Training:
    """A running `fit`: the source of its data, and the current epoch.

    Args:
        source: Object with `variables` (its state, as far as it can be stored), `rings` (the `Ring`s whose rows are among them)
            and `rollouts` (how many it has collected).
        num_envs: Number of environments.
        rollouts_per_epoch: Number of rollouts in an epoch.
        initial_epoch: Epoch at which `fit` starts.
        budget: `Budget` that ends the epochs instead, or `None`.

    Attributes:
        num_envs: See above.
        rollouts_per_epoch: See above.
        resumed_epoch: Epoch from which `restore` continued, or `None`.
        backups: List of the callbacks `BackupAndRestore`.
    """

    def __init__(
        self, source: Any, num_envs: int, rollouts_per_epoch: int, initial_epoch: int, budget: Budget | None = None
    ) -> None:
        self.source, self.num_envs = source, num_envs
        self.rollouts_per_epoch, self._initial_epoch = rollouts_per_epoch, initial_epoch
        self._rollouts_before, self.budget = source.rollouts, budget
        self.resumed_epoch: int | None = None
        self.backups: list[keras.callbacks.BackupAndRestore] = []
        self._kept: list[keras.callbacks.BackupAndRestore] = []

    def keep_backups(self) -> None:
        """Lets the backups stay at the end of this `fit`."""
        for callback in self.backups:
            if callback.delete_checkpoint:
                callback.delete_checkpoint = False
                self._kept.append(callback)

    def release_backups(self) -> None:
        """Sets the callbacks back, for another `fit` with them."""
        while self._kept:
            self._kept.pop().delete_checkpoint = True

    @property
    def steps_per_epoch(self) -> int:
        """Environment steps in an epoch; less by a step for each episode where environments reset in a step of its own."""
        if self.budget:
            return self.budget.steps_per_epoch
        return self.num_envs * self.source.driver.steps * self.rollouts_per_epoch

    @property
    def has_begun(self) -> bool:
        """Whether a rollout has been collected."""
        return self.source.rollouts > self._rollouts_before

    def position(self) -> Position:
        """Returns the current state, a `Position` for `restore`; a replay buffer is not copied."""
        epochs = (self.source.rollouts - self._rollouts_before) // self.rollouts_per_epoch
        counts = {"epoch": self._initial_epoch + epochs, "num_envs": self.num_envs}
        if self.budget:
            counts |= {"epoch": self.budget.epoch, "start": self.budget.start}
        return Position.of(self.source.variables, self.source.rings, counts)

    def restore(self, position: Position, epoch: int | None = None) -> None:
        """Continues from `position`, with the epoch `epoch` or, if it is `None`, that of `position`.

        Raises:
            ValueError: The environments or their number are not those of `position`, or its replay buffer is damaged.
        """
        variables, rings = self.source.variables, self.source.rings
        then, num_envs = position.count("epoch"), position.count("num_envs")
        expected: Any
        received: Any
        expected, received = position.shapes(), [list(variable.shape) for variable in variables]
        if num_envs != self.num_envs:
            expected, received = num_envs, self.num_envs
        if expected != received:
            what = "environments" if num_envs == self.num_envs else "`num_envs`"
            raise ValueError(
                f"A training run continues only with the {what} that it was started with: pass the same, or start a new run "
                f"(another backup folder, or `initial_epoch=0`). Expected: {expected}. Received: {received}"
            )
        there = [position.is_in(ring) for ring in rings]
        for ring, is_there in zip(rings, there, strict=True):
            if not is_there:
                ring.clear()
        for variable, array in zip(variables, position.arrays(), strict=True):
            if array is not None:
                variable.assign(array)
        for ring, is_there, blocks in zip(rings, there, position.memory, strict=False):  # old files have no blocks
            for index, block in enumerate([] if is_there else blocks):
                ring.unpack(index, block)
        self.resumed_epoch = self._initial_epoch = then if epoch is None else epoch
        if self.budget:
            self.budget.start = position.count("start", self.budget.start)
        self._rollouts_before = self.source.rollouts


def mend_backups(callbacks: Any) -> None:
    """Removes the epoch file of a `BackupAndRestore` if it is truncated or if there is no weights file.

    Both can happen if the process is killed: Keras writes the weights first and the epoch file afterwards, and deletes both at
    the end of training. The weights file is enough to resume, since it contains the epoch too.
    """
    for callback in keras.tree.flatten(callbacks or []):
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            folder = pathlib.Path(callback.backup_dir)
            weights, note = (folder / name for name in BACKUP_FILES)
            if note.exists() and not (weights.exists() and _is_json(note)):
                note.unlink()


def _is_json(path):
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True
