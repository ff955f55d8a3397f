"""What an agent writes to files and reads from them."""

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
from keras_rl_prob.keras_internals import HookedModel
from keras_rl_prob.learning.position import PREFIX, Position
from keras_rl_prob.types import Path

if TYPE_CHECKING:
    from keras_rl_prob.learning.segments import Segments


class PersistentModel(HookedModel):
    """The part of an agent that concerns files: configuration, spaces, weights, and where its training stands.

    Files are written whole or not at all: under another name first, which then takes the place of the old file.

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
        self._training: Any = None  # while `fit` runs
        self._ended: Any = None  # the last training, as long as its source stands where it ended
        self._position: Any = None  # else where the last training, or the one in the loaded file, stood
        self._segments: Any = None  # where a backup has its replay memory, while it is written or read

    def get_compile_config(self) -> dict[str, Any] | None:
        """The arguments of `compile`, for saving."""
        if not self.compiled:
            return None
        return {
            "optimizer": keras.saving.serialize_keras_object(
                self.optimizers if len(self.optimizers) > 1 else self.optimizer
            ),
            "jit_compile": self._requested_jit_compile,
            "steps_per_execution": self._requested_steps_per_execution,
            "run_eagerly": self.run_eagerly,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a loaded agent, whose optimizer's variables are then restored."""
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
        """The agent that `get_config` described, perhaps of an earlier version."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return cls(**{key: keras.saving.deserialize_keras_object(value) for key, value in config.items()})

    def save_own_variables(self, store: Any) -> None:
        """Stores the agent's own variables, and where its training stands: what an exact resume needs."""
        super().save_own_variables(store)
        position = self.position()
        for key, value in position.stored(self._segments) if position else ():
            store[key] = value

    def load_own_variables(self, store: Any) -> None:
        """Restores what `save_own_variables` stored.

        A `fit` that has just begun goes on from there (`BackupAndRestore`), a later one if its `initial_epoch` is not 0.
        """
        position = Position.read(store, self._segments)
        with self._counting_on():
            super().load_own_variables({key: store[key] for key in set(store.keys()) if not key.startswith(PREFIX)})
        if self._training is None:
            self._ended, self._position = None, position and position.held()
        elif position and not self._training.has_begun:
            self._go_on(position)

    def _go_on(self, position, epoch=None):
        """Lets the training that begins go on from a position, of whose memory there is no second copy then."""
        self._training.restore(position, epoch)
        self._position = self._training.position()
        if self._segments is not None:
            self._segments.read_into(self._position.rings)

    @contextlib.contextmanager
    def memory_in(self, segments: "Segments") -> Iterator[None]:
        """Lets the replay memory of the weights that are saved or loaded meanwhile be in `Segments`."""
        self._segments = segments
        try:
            yield
        finally:
            self._segments = None

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Sets all weights; in a running training (`EarlyStopping(restore_best_weights=True)`), not what counts steps."""
        with self._counting_on():
            super().set_weights(weights)

    @contextlib.contextmanager
    def _counting_on(self):
        """Keeps `env_steps` and `failure` as they are, if a training has played: what was played stays counted."""
        counters: list[Any] = [self.env_steps, self.failure] if self._training and self._training.has_begun else []
        before = [counter.numpy() for counter in counters]
        try:
            yield
        finally:
            for counter, value in zip(counters, before, strict=True):
                counter.assign(value)

    def position(self) -> Position | None:
        """Where the training stands, or the last one stood: a `Position`, or `None` if there was none."""
        training = self._training or self._ended
        return training.position() if training else self._position

    @contextlib.contextmanager
    def apart_from_training(self) -> Iterator[None]:
        """Lets what is saved meanwhile hold the agent alone: no environments, no random numbers, no replay memory."""
        kept = self._training, self._ended, self._position
        self._training = self._ended = self._position = None
        try:
            yield
        finally:
            self._training, self._ended, self._position = kept

    def _end_training(self):
        """What follows a `fit`, also one that was broken off: it can be gone on with from where it stands."""
        if self._training.has_begun:
            self._ended, self._position = self._training, None
        self._training = None

    def _rest(self, goes_on=True):
        """Keeps where the last training stood apart from its source, which is about to be used for another, or to go.

        Args:
            goes_on: Whether that is of use still; its replay memory is that of the source then, which must not change.
        """
        self._ended, self._position = None, self.position() if goes_on else None

    @property
    def resumed_epoch(self) -> int | None:
        """Where `fit` starts after `BackupAndRestore`, read from the weights; `None` if nothing was restored."""
        return self._training.resumed_epoch if self._training else None

    def save(self, filepath: Path, overwrite: bool = True, **kwargs: Any) -> None:
        """Saves the agent as a `.keras` file: configuration, weights, normalisers, optimizer, where its training stands."""
        if str(filepath).endswith((".h5", ".hdf5")):
            raise ValueError(
                "`filepath` must end with `.keras`: the old HDF5 format cannot hold an agent. `save_weights` takes names that "
                f"end with `.weights.h5`. Received: filepath={str(filepath)!r}"
            )
        self._write(super().save, filepath, ".keras", overwrite, kwargs)

    def save_weights(self, filepath: Path, overwrite: bool = True, **kwargs: Any) -> None:
        """Saves what `save` does, without the configuration."""
        self._write(super().save_weights, filepath, ".weights.h5", overwrite, kwargs)

    @staticmethod
    def _write(write, filepath, suffix, overwrite, kwargs):
        local = isinstance(filepath, str | os.PathLike) and "://" not in str(filepath)
        if not (overwrite and local and str(filepath).endswith(suffix)):
            write(filepath, overwrite=overwrite, **kwargs)
        elif suffix == ".keras":  # an archive, written by Python

            def into(path):
                with _Archive(io.FileIO(os.open(path, os.O_WRONLY), "w")) as archive:
                    write(archive, **kwargs)

            write_whole(filepath, into)
        else:
            memory = _Memory(suffix)
            write(memory, **kwargs)
            write_whole(filepath, lambda path: path.write_bytes(memory.getbuffer()))


class _Archive(io.BufferedWriter):
    """A `.keras` file without a path, from which Keras would have HDF5 write to the disk (see `_Memory`)."""

    def __str__(self):
        return ".keras"


class _Memory(io.BytesIO):
    """A file in memory: a disk that fills up while HDF5 writes to it would bring the process down later on.

    Keras looks at how its name ends. See https://github.com/h5py/h5py/issues/914.
    """

    def __init__(self, name):
        super().__init__()
        self._name = name

    def __str__(self):
        return self._name


def write_whole(path: Path, write: Callable[[pathlib.Path], Any]) -> None:
    """Calls `write(temporary)` and then puts the file in the place of `path`, so that whatever fails leaves the old one.

    A link at `path` stays one: the file that it leads to is replaced. The new file has the mode and, if it may be given away,
    the owner of the old one.

    Args:
        path: Where the file goes.
        write: Callable that writes to the path that it gets, of a file that is there and empty.
    """
    path = pathlib.Path(os.path.realpath(path))
    handle, name = tempfile.mkstemp(f".{path.name}", "part.", path.parent)  # no file that was there before
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
        _synchronize(path.parent)  # else a crash of the machine could bring the old name back


def _like_the_old(path, temporary):
    """Gives a new file the mode and the owner of the one whose place it takes, else the mode of any new file."""
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
