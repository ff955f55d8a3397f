"""Rows of past play in graph variables."""

import os

import tensorflow as tf


def _check_fits(specs, capacity):
    """Raises a `MemoryError` for rows that take more than all the memory of the machine."""
    size = capacity * sum(spec.shape.num_elements() * spec.dtype.size for spec in tf.nest.flatten(specs))
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not everywhere
        return
    if size > memory:
        raise MemoryError(
            f"The replay memory would take {size / 2**30:.1f} GiB, of {memory / 2**30:.1f} GiB that this machine has: set a "
            "smaller `capacity`, make images smaller, or let `frame_axis` store single frames"
        )


class Ring:
    """The last `capacity` rows of `num_envs` environments; new rows take the place of the oldest.

    A row is what all environments had at one moment, so that what followed a row is the next one: no observation is
    stored twice. Rows are numbered by age, 0 being the oldest that is there.

    Args:
        specs: Nest of `tf.TensorSpec`s `[num_envs, ...]` of a row.
        capacity: Rows.

    Raises:
        MemoryError: The machine has less memory than the rows take.

    Attributes:
        capacity: Rows.
        num_envs: Environments.
        size: int32 variable; rows that are there.
        head: int32 variable; the place that the next row takes.
    """

    def __init__(self, specs, capacity):
        self.capacity, self.num_envs = capacity, tf.nest.flatten(specs)[0].shape[0]
        _check_fits(specs, capacity)
        self._rows = tf.nest.map_structure(
            lambda spec: tf.Variable(tf.zeros((capacity, *spec.shape), spec.dtype), trainable=False), specs
        )
        self.size = tf.Variable(0, trainable=False, name="size")
        self.head = tf.Variable(0, trainable=False, name="head")

    @property
    def variables(self):
        """All that the ring holds."""
        return [*tf.nest.flatten(self._rows), self.size, self.head]

    def clear(self):
        """Forgets all rows: as new."""
        for variable in tf.nest.flatten(self._rows):
            zero(variable)
        self.size.assign(0)
        self.head.assign(0)

    def add(self, rows):
        """Stores rows; at most `capacity` at once.

        Args:
            rows: Nest `[T, num_envs, ...]`.

        Returns:
            int32 `[T]`: the places where they went.
        """
        count = tf.nest.flatten(rows)[0].shape[0]
        places = (self.head + tf.range(count)) % self.capacity
        tf.nest.map_structure(
            lambda variable, x: variable.scatter_update(tf.IndexedSlices(x, places)), self._rows, rows
        )
        self.head.assign((self.head + count) % self.capacity)
        self.size.assign(tf.minimum(self.size + count, self.capacity))
        return places

    def place(self, age):
        """The place, int32, of rows of these ages; negative ages and those beyond the newest wrap around."""
        return (self.head - self.size + age) % self.capacity

    def read(self, name, places, envs):
        """What is stored under a key of the outermost dict of a row.

        Args:
            name: Key.
            places: int32 `[...]`, see `place`.
            envs: int32, shaped like `places`; which environment.

        Returns:
            Nest `[..., ...]`.
        """
        indices = tf.stack([places, tf.broadcast_to(envs, tf.shape(places))], -1)
        indices = tf.cast(indices, tf.int64)  # int32 is refused for more than 2^31 numbers, 300,000 frames of 84 x 84
        return tf.nest.map_structure(lambda variable: variable.gather_nd(indices), self._rows[name])


def zero(variable, entries=2**24):
    """Sets a variable to zero, so many entries at a time: a second tensor of its size might not fit into memory."""
    rows = variable.shape[0]
    step = max(1, entries * rows // max(1, variable.shape.num_elements()))
    for start in range(0, rows, step):
        places = tf.range(start, min(start + step, rows))
        blank = tf.zeros((places.shape[0], *variable.shape[1:]), variable.dtype)
        variable.scatter_update(tf.IndexedSlices(blank, places))
