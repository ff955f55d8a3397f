"""The state of a training run, as it is kept and stored: arrays, and the replay buffer in blocks."""

import collections.abc
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import tensorflow as tf

from keras_rl_prob.replay.ring import Ring

if TYPE_CHECKING:
    from keras_rl_prob.learning.segments import Segments

PREFIX = "training_"
BLOCKS, SEGMENTS = f"{PREFIX}blocks", f"{PREFIX}segments"


class Blocks(collections.abc.Sequence):
    """Blocks of a replay buffer, as `Ring.pack` returns them, each created or read when it is accessed.

    Args:
        read: Callable that returns the block with an index.
        count: Number of blocks.
    """

    def __init__(self, read: Callable[[int], bytes], count: int) -> None:
        self._read, self._count = read, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._read(index)


class Position:
    """The state of a training run.

    Args:
        entries: Dict of arrays: everything except the rows of the replay buffer.
        memory: For each ring of the replay buffer the sequence of its blocks.
        rings: Those rings, if they still have these rows.
    """

    def __init__(
        self, entries: dict[str, np.ndarray], memory: Sequence[Sequence[bytes]] = (), rings: Sequence[Ring] = ()
    ) -> None:
        self.entries, self.memory, self.rings = entries, memory, rings

    @classmethod
    def of(cls, variables: Sequence[tf.Variable], rings: Sequence[Ring], counts: dict[str, int]) -> Self:
        """Creates a `Position` from variables, including the rows of rings, and a dict of integers.

        Arrays are copied; the rows of the rings are not.
        """
        rows = {id(variable) for ring in rings for variable in ring.rows}
        entries = {}
        for i, variable in enumerate(variables):
            if id(variable) in rows:
                entries[f"{PREFIX}{i}_shape"] = np.array(variable.shape.as_list())
            else:
                entries[f"{PREFIX}{i}"] = variable.numpy()
        entries |= {f"{PREFIX}{name}": np.array(count) for name, count in counts.items()}
        return cls(entries, [Blocks(ring.pack, ring.blocks) for ring in rings], rings)

    @classmethod
    def read(cls, store: Any, segments: "Segments | None" = None) -> Self | None:
        """Reads the `Position` in a Keras store, `None` if there is none; its blocks are read when they are accessed.

        Args:
            store: The argument of `load_own_variables`.
            segments: `Segments` of the replay buffer, for a backup that has them.
        """
        names = {name for name in set(store.keys()) if name.startswith(PREFIX)}
        if not names:
            return None
        counts = [int(count) for count in store[BLOCKS]] if BLOCKS in names else []
        blocks = [[f"{PREFIX}block_{number}_{i}" for i in range(count)] for number, count in enumerate(counts)]

        def block(names):
            return lambda i: store[names[i]].tobytes()

        memory = [Blocks(block(own), len(own)) for own in blocks]
        if SEGMENTS in names:
            if segments is None:
                raise ValueError(
                    "The replay buffer of this file is stored in separate segments: use `krp.callbacks.Backup` to resume"
                )
            blocks, memory = [], segments.memory(store[SEGMENTS], counts)
        entries = names.difference([BLOCKS, SEGMENTS], *blocks)
        numbers = [int(number) for name in entries if (number := _number(name)).isdecimal()]
        expected = [str(i) for i in range(max(numbers, default=-1) + 1)] + ["epoch", "num_envs"]
        missing = [f"{PREFIX}{name}" for name in expected if name not in map(_number, entries)]
        missing += [name for own in blocks for name in own if name not in names]
        if missing:
            raise ValueError(f"The file lacks part of its training state. Missing: {missing}")
        return cls({name: np.array(store[name]) for name in entries}, memory)

    def count(self, name: str, default: int | None = None) -> int:
        """Returns one of the integers that are stored with the variables; `default`, if given, where it is not."""
        entry = f"{PREFIX}{name}"
        return int(self.entries[entry] if default is None else self.entries.get(entry, default))

    @property
    def _variables(self):
        """Number of variables; the other entries are the integers."""
        return sum(_number(name).isdecimal() for name in self.entries)

    def arrays(self) -> list[Any]:
        """The variables' values in order; `None` for rows of the replay buffer."""
        return [self.entries.get(f"{PREFIX}{i}") for i in range(self._variables)]

    def shapes(self) -> list[list[int]]:
        """The variables' shapes in order, as lists."""
        shapes = [self.entries.get(f"{PREFIX}{i}_shape") for i in range(self._variables)]
        pairs = zip(self.arrays(), shapes, strict=True)
        return [list(array.shape) if shape is None else shape.tolist() for array, shape in pairs]

    def is_in(self, ring: Ring) -> bool:
        """Whether its rows are still in this ring."""
        return any(ring is other for other in self.rings)

    def held(self) -> "Position":
        """Returns the same `Position` with its blocks read into memory, so that the file can be closed."""
        return Position(self.entries, [list(blocks) for blocks in self.memory])

    def stored(self, segments: "Segments | None" = None) -> Iterator[tuple[str, np.ndarray]]:
        """Yields names and arrays for a Keras store, so that only one block is in memory at a time.

        Args:
            segments: `Segments` to write the blocks to; the store then gets their digests.
        """
        yield from self.entries.items()
        if self.memory:
            yield BLOCKS, np.array([len(blocks) for blocks in self.memory])
        if self.memory and segments is not None:
            yield SEGMENTS, segments.put(self.rings)
        else:
            for number, blocks in enumerate(self.memory):
                for i, block in enumerate(blocks):
                    yield f"{PREFIX}block_{number}_{i}", np.frombuffer(block, np.uint8)


def _number(name):
    return name.removeprefix(PREFIX).removesuffix("_shape")
