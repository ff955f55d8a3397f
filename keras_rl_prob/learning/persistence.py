"""Saving and loading of agents."""

import contextlib
import io
import os
import pathlib
import stat
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np

from keras_rl_prob import spaces
from keras_rl_prob.keras_internals import HookedModel, have_one_learning_rate
from keras_rl_prob.learning.position import PREFIX, Position
from keras_rl_prob.networks.weights import use_weights
from keras_rl_prob.types import Path

if TYPE_CHECKING:
    from keras_rl_prob.learning.segments import Segments


class PersistentModel(HookedModel):
    """Base class of agents that implements files: configuration, spaces, weights and the training state.

    Files are written atomically: under a temporary name first; the new file then replaces the old one.

    Attributes:
        network, observation_space, action_space: See `Agent`.
    """

    network: Any
    observation_space: Any
    action_space: Any
    optimizer: Any
    optimizers: dict[str, keras.optimizers.Optimizer]
    train_function: Any
    steps_per_execution: Any

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._training: Any = None  # the `Training` of a running `fit`
        self._ended: Any = None  # that of the last `fit`, as long as its source has not changed
        self._position: Any = None  # else the state of the last run, or of the one in the loaded file
        self._segments: Any = None  # the `Segments` of a backup while it is written or read

    def get_compile_config(self) -> dict[str, Any] | None:
        """The arguments of `compile`, for saving."""
        if not self.compiled:
            return None
        single = not self.optimizers or have_one_learning_rate(list(self.optimizers.values()))
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizer if single else self.optimizers),
            "jit_compile": self._requested_jit_compile,
            "steps_per_execution": self._requested_steps_per_execution,
            "run_eagerly": self.run_eagerly,
            "metrics": list(self.watched),
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a loaded agent; the optimizer's variables are restored afterwards."""
        self.compile(**{**config, "optimizer": keras.saving.deserialize_keras_object(config["optimizer"])})

    def get_build_config(self) -> dict[str, Any] | None:
        """The spaces that the agent was built for."""
        if not self.built:
            return None
        return {name: spaces.serialize(getattr(self, name)) for name in ("observation_space", "action_space")}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Builds a loaded agent for the spaces that it was saved with, unless it is built already."""
        if not self.built:
            self.build(tuple(spaces.deserialize(config[name]) for name in ("observation_space", "action_space")))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Creates an agent from the result of `get_config`, also from that of an earlier version."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return cls(**{key: keras.saving.deserialize_keras_object(value) for key, value in config.items()})

    def save_own_variables(self, store: Any) -> None:
        """Stores the agent's own variables and the training state, which an exact resume needs."""
        super().save_own_variables(store)
        position = self.position()
        for key, value in position.stored(self._segments) if position else ():
            store[key] = value

    def load_own_variables(self, store: Any) -> None:
        """Restores what `save_own_variables` stored.

        A `fit` that has just started continues from there (`BackupAndRestore`), a later one if its `initial_epoch` is not 0.
        """
        position = Position.read(store, self._segments)
        with self._counting_on():
            super().load_own_variables({key: store[key] for key in set(store.keys()) if not key.startswith(PREFIX)})
        if self._training is None:
            self._ended, self._position = None, position and position.held()
        elif position and not self._training.has_begun:
            self._go_on(position)

    def _go_on(self, position, epoch=None):
        """Lets the `fit` that has just started continue from a `Position`, without keeping a copy of its replay buffer."""
        self._training.restore(position, epoch)
        self._position = self._training.position()
        if self._segments is not None:
            self._segments.read_into(self._position.rings)

    @contextlib.contextmanager
    def memory_in(self, segments: "Segments") -> Iterator[None]:
        """Context manager, in which weights are saved and loaded with their replay buffer in `Segments`."""
        self._segments = segments
        try:
            yield
        finally:
            self._segments = None

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Sets all weights; during `fit` (`EarlyStopping(restore_best_weights=True)`) step counters are not changed."""
        with self._counting_on():
            super().set_weights(weights)
        use_weights(self)

    @contextlib.contextmanager
    def _counting_on(self):
        """Context manager, in which `env_steps` and `failure` are not changed, if the running `fit` has collected data."""
        counters: list[Any] = [self.env_steps, self.failure] if self._training and self._training.has_begun else []
        before = [counter.numpy() for counter in counters]
        try:
            yield
        finally:
            for counter, value in zip(counters, before, strict=True):
                counter.assign(value)

    def position(self) -> Position | None:
        """Returns the state of the current or the last training run, a `Position`; `None` if there was none."""
        training = self._training or self._ended
        return training.position() if training else self._position

    @contextlib.contextmanager
    def apart_from_training(self) -> Iterator[None]:
        """Context manager, in which saved files contain only the agent: no environment states, random keys or replay buffer."""
        kept = self._training, self._ended, self._position
        self._training = self._ended = self._position = None
        try:
            yield
        finally:
            self._training, self._ended, self._position = kept

    @property
    def is_training(self) -> bool:
        """Whether `fit` is running."""
        return self._training is not None

    def interrupt(self) -> None:
        """Stops a running `fit` after the current epoch, called by a callback, and keeps the backups of the training.

        `stop_training = True` alone says that training is complete: then `BackupAndRestore` deletes its backup.
        """
        self.stop_training = True
        if self._training:
            self._training.keep_backups()

    def _end_training(self):
        """Called after `fit`, even if it was interrupted: the training run can be continued."""
        self._training.release_backups()
        if self._training.has_begun:
            self._ended, self._position = self._training, None
        self._training = None

    def _rest(self, goes_on=True):
        """Keeps the state of the last training run without its source, which will be reused or discarded.

        Args:
            goes_on: Whether that state is still needed; its replay buffer stays in the source, where it must not change.
        """
        self._ended, self._position = None, self.position() if goes_on else None

    @property
    def budget(self) -> Any:
        """The `Budget` of the running `fit`, or `None`: then its epochs have a number of gradient steps."""
        return self._training.budget if self._training else None

    @property
    def resumed_epoch(self) -> int | None:
        """Epoch at which `fit` starts after `BackupAndRestore`, read from the weights; `None` if nothing was restored."""
        return self._training.resumed_epoch if self._training else None

    def save(self, filepath: Path, overwrite: bool = True, **kwargs: Any) -> None:
        """Saves the agent as a `.keras` file: configuration, weights, normalisers, optimizer and training state."""
        if str(filepath).endswith((".h5", ".hdf5")):
            raise ValueError(
                "`filepath` must end with `.keras`: the old HDF5 format cannot store an agent. `save_weights` takes names that "
                f"end with `.weights.h5`. Received: filepath={str(filepath)!r}"
            )
        self._write(super().save, filepath, ".keras", overwrite, kwargs)

    def save_weights(self, filepath: Path, overwrite: bool = True, **kwargs: Any) -> None:
        """Saves the same as `save` except the configuration."""
        self._write(super().save_weights, filepath, ".weights.h5", overwrite, kwargs)

    @staticmethod
    def _write(write, filepath, suffix, overwrite, kwargs):
        local = isinstance(filepath, str | os.PathLike) and "://" not in str(filepath)
        if not (overwrite and local and str(filepath).endswith(suffix)):
            write(filepath, overwrite=overwrite, **kwargs)
        elif suffix == ".keras":  # a zip archive, written by Python

            def into(path):
                with _Archive(io.FileIO(os.open(path, os.O_WRONLY), "w")) as archive:
                    write(archive, **kwargs)

            write_whole(filepath, into)
        else:
            memory = _Memory(suffix)
            write(memory, **kwargs)
            write_whole(filepath, lambda path: path.write_bytes(memory.getbuffer()))


class _Archive(io.BufferedWriter):
    """A `.keras` file without a path: given a path, Keras would let HDF5 write to the disk (see `_Memory`)."""

    def __str__(self):
        return ".keras"


class _Memory(io.BytesIO):
    """A file in memory: if a disk fills up while HDF5 writes to it, the process may crash later.

    Keras checks the suffix of `str(file)`. See https://github.com/h5py/h5py/issues/914.
    """

    def __init__(self, name):
        super().__init__()
        self._name = name

    def __str__(self):
        return self._name


def write_whole(path: Path, write: Callable[[pathlib.Path], Any]) -> None:
    """Calls `write(temporary)`, then replaces `path` with that file, so that the old file remains if anything fails.

    If `path` is a symbolic link, the file that it points to is replaced. The new file gets the mode and, if permitted, the
    owner of the old one.

    Args:
        path: Path of the file to write.
        write: Callable that writes to the path that it gets, that of an empty file.
    """
    path = pathlib.Path(os.path.realpath(path))
    handle, name = tempfile.mkstemp(f".{path.name}", "part.", path.parent)  # never an existing file
    os.close(handle)
    temporary = pathlib.Path(name)
    try:
        write(temporary)
        _like_the_old(path, temporary)
        _synchronize(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        _synchronize(path.parent)  # otherwise a crash of the machine could restore the old file


def _like_the_old(path, temporary):
    """Gives a new file the mode and the owner of the file that it replaces, or the default mode if there is none."""
    try:
        old = path.stat()
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        return
    if hasattr(os, "chown") and (old.st_uid, old.st_gid) != (temporary.stat().st_uid, temporary.stat().st_gid):
        with contextlib.suppress(PermissionError):
            os.chown(temporary, old.st_uid, old.st_gid)
    temporary.chmod(stat.S_IMODE(old.st_mode))


def _synchronize(path):
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
