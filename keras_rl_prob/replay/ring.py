"""A ring buffer of rows in TensorFlow variables."""

import os
from typing import Any

import tensorflow as tf

from keras_rl_prob.replay.blocks import pack, unpack
from keras_rl_prob.types import Nest

BLOCK_BYTES = 2**24  # before compression; files depend on it


def _row_bytes(specs):
    return sum(spec.shape.num_elements() * spec.dtype.size for spec in tf.nest.flatten(specs))


def _check_fits(specs, capacity):
    """Raises a `MemoryError` if the rows need more memory than the machine has."""
    size = capacity * _row_bytes(specs)
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not available on every platform
        return
    if size > memory:
        raise MemoryError(
            f"The replay buffer would take {size / 2**30:.1f} GiB, but this machine has {memory / 2**30:.1f} GiB: set a "
            "smaller `capacity`, make images smaller, or store single frames with `frame_axis`"
        )


class Ring:
    """Ring buffer of the last `capacity` rows of `num_envs` environments; new rows replace the oldest.

    A row has the values of all environments at one time step, and the next row those of the next time step, so that no
    observation is stored twice. The age of the oldest row is 0. The slot of a row is its index in the variables; for files,
    slots are divided into blocks.

    Args:
        specs: Nest of `tf.TensorSpec`s `[num_envs, ...]` of a row.
        capacity: Maximum number of rows.

    Raises:
        MemoryError: The machine has less memory than the rows need.

    Attributes:
        specs: The argument.
        capacity: The argument.
        num_envs: Number of environments.
        size: int32 variable; number of rows.
        head: int32 variable; slot of the next row.
    """

    def __init__(self, specs: Nest, capacity: int) -> None:
        self.specs, self.capacity, self.num_envs = specs, capacity, tf.nest.flatten(specs)[0].shape[0]
        _check_fits(specs, capacity)
        self._rows = tf.nest.map_structure(
            lambda spec: tf.Variable(tf.zeros((capacity, *spec.shape), spec.dtype), trainable=False), specs
        )
        self.size = tf.Variable(0, trainable=False, name="size")
        self.head = tf.Variable(0, trainable=False, name="head")
        self._block = min(capacity, max(1, BLOCK_BYTES // max(1, _row_bytes(specs))))
        self._added = tf.Variable(0, dtype=tf.int64, trainable=False, name="added")  # for `version`, not stored
        self._identity = object()

    @property
    def rows(self) -> list[tf.Variable]:
        """The variables that contain the rows."""
        return tf.nest.flatten(self._rows)

    @property
    def variables(self) -> list[tf.Variable]:
        """All variables of the ring."""
        return [*self.rows, self.size, self.head]

    def clear(self) -> None:
        """Removes all rows."""
        for variable in self.rows:
            zero(variable)
        self.size.assign(0)
        self.head.assign(0)
        self._added.assign_add(self.capacity)

    def add(self, rows: Nest) -> tf.Tensor:
        """Stores rows; at most `capacity` at once.

        Args:
            rows: Nest `[T, num_envs, ...]`.

        Returns:
            int32 `[T]`: the slots of the rows.
        """
        count = tf.nest.flatten(rows)[0].shape[0]
        places = (self.head + tf.range(count)) % self.capacity
        tf.nest.map_structure(
            lambda variable, x: variable.scatter_update(tf.IndexedSlices(x, places)), self._rows, rows
        )
        self.head.assign((self.head + count) % self.capacity)
        self.size.assign(tf.minimum(self.size + count, self.capacity))
        self._added.assign_add(count)
        return places

    def place(self, age: tf.Tensor) -> tf.Tensor:
        """Returns the slots, int32, of rows of these ages; negative ages and those beyond the newest wrap around."""
        return (self.head - self.size + age) % self.capacity

    def read(self, name: str, places: tf.Tensor, envs: tf.Tensor) -> Nest:
        """Returns what rows contain under a key of their outermost dict.

        Args:
            name: Key.
            places: int32 `[...]`, slots of the rows.
            envs: int32, of the shape of `places`; indices of environments.

        Returns:
            Nest `[..., ...]`.
        """
        indices = tf.stack([places, tf.broadcast_to(envs, tf.shape(places))], -1)
        indices = tf.cast(indices, tf.int64)  # int32 fails for more than 2^31 numbers, 300,000 frames of 84 x 84
        return tf.nest.map_structure(lambda variable: variable.gather_nd(indices), self._rows[name])

    # ---- blocks -----------------------------------------------------------------------------------------------

    @property
    def blocks(self) -> int:
        """Number of blocks that have rows, int."""
        return -(-int(self.size.numpy()) // self._block)

    def _places(self, index):
        start = index * self._block
        return tf.range(start, min(start + self._block, int(self.size.numpy())), dtype=tf.int64)

    def version(self, index: int) -> tuple[Any, int]:
        """Returns a version of a block, which equals an earlier one only if the block has not changed since."""
        start, head = index * self._block, int(self.head.numpy())
        stop = min(start + self._block, self.capacity)
        since = 0 if start < head < stop else (head - stop) % self.capacity  # rows added after its last one
        return self._identity, int(self._added.numpy()) - since

    def pack(self, index: int) -> bytes:
        """Returns the rows of a block as bytes."""
        places = self._places(index)
        return pack([variable.sparse_read(places).numpy() for variable in self.rows])

    def unpack(self, index: int, data: bytes) -> None:
        """Restores the rows of a block from the result of `pack`; `size` and `head` must have been restored before.

        Raises:
            ValueError: The data are damaged, or those of another ring.
        """
        places = self._places(index)
        arrays = unpack(data, [variable.dtype.as_numpy_dtype for variable in self.rows])
        expected, received = ([list(x.shape[1:]) for x in values] for values in (self.rows, arrays))
        if expected != received or any(len(x) != len(places) for x in arrays):
            raise ValueError(
                f"A block of the replay buffer must have {len(places)} rows of the shapes {expected}. "
                f"Received: shapes={[list(x.shape) for x in arrays]}"
            )
        for variable, x in zip(self.rows, arrays, strict=True):
            variable.scatter_update(tf.IndexedSlices(tf.constant(x, variable.dtype), places))


def zero(variable: tf.Variable, entries: int = 2**24) -> None:
    """Sets a variable to zero, `entries` numbers at a time: a second tensor of its size might not fit into memory."""
    rows = variable.shape[0]
    step = max(1, entries * rows // max(1, variable.shape.num_elements()))
    for start in range(0, rows, step):
        places = tf.range(start, min(start + step, rows))
        blank = tf.zeros((places.shape[0], *variable.shape[1:]), variable.dtype)
        variable.scatter_update(tf.IndexedSlices(blank, places))
