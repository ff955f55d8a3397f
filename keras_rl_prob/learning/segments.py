"""The replay buffer of a backup: a folder of blocks, of which only those that changed are written."""

import functools
import hashlib
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_rl_prob.learning.persistence import write_whole
from keras_rl_prob.learning.position import Blocks
from keras_rl_prob.replay.ring import Ring
from keras_rl_prob.types import Path


class Segments:
    """A folder of segments, files with one block of a replay buffer each, named by the SHA-256 of their content.

    A segment never changes. The weights file of a backup lists its segments. It is replaced after all of them are written, and
    only then are other segments removed: so the segments of a weights file exist at any time.

    Args:
        folder: Path of the folder, which is created when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = pathlib.Path(folder)
        self._digests: dict[Any, bytes] = {}  # of blocks, by ring and index
        self._versions: dict[Any, Any] = {}  # of the blocks in the rings when they had these digests

    def put(self, rings: Sequence[Ring]) -> np.ndarray:
        """Writes the blocks of rings that have changed since they were last written or read.

        Returns:
            Digests of all blocks, uint8 `[blocks, 32]`.
        """
        places = [(number, index) for number, ring in enumerate(rings) for index in range(ring.blocks)]
        for place in places:
            ring, index = rings[place[0]], place[1]
            version = ring.version(index)
            if self._versions.get(place) != version or not self._path(self._digests[place]).is_file():
                self._digests[place] = self._write(ring.pack(index))
                self._versions[place] = version
        self._digests = {place: self._digests[place] for place in places}
        return np.array([list(self._digests[place]) for place in places], np.uint8).reshape(-1, 32)

    def _write(self, data):
        digest = hashlib.sha256(data).digest()
        path = self._path(digest)
        if not path.is_file():
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, lambda part: part.write_bytes(data))
        return digest

    def _path(self, digest):
        return self._folder / f"{bytes(digest).hex()}.npz"

    def memory(self, digests: np.ndarray, counts: Sequence[int]) -> list[Blocks]:
        """Returns the blocks with these digests, for rings with `counts` blocks each; see `Position`."""
        stops = np.cumsum(counts)
        parts = [digests[stop - count : stop] for stop, count in zip(stops, counts, strict=True)]
        self._digests = {(r, i): bytes(x) for r, part in enumerate(parts) for i, x in enumerate(part)}
        self._versions = {}
        return [Blocks(functools.partial(self._nth, part), len(part)) for part in parts]

    def _nth(self, digests, index):
        return self.read(digests[index])

    def read(self, digest: bytes) -> bytes:
        """Reads the block with a digest.

        Raises:
            ValueError: The segment is missing or damaged.
        """
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise ValueError(f"A segment of the replay buffer is missing. Expected: {path}") from None
        if hashlib.sha256(data).digest() != bytes(digest):
            raise ValueError(f"A segment of the replay buffer is damaged. Received: {path}")
        return data

    def read_into(self, rings: Sequence[Ring]) -> None:
        """Records that rings have the blocks of the last `memory`, so that they are not written again."""
        self._versions = {(number, index): rings[number].version(index) for number, index in self._digests}

    def remove_others(self) -> None:
        """Removes segments that are not in the last `put` or `memory`, and files that a crash has left."""
        named = {self._path(digest) for digest in self._digests.values()}
        for path in self._folder.glob("*"):
            if path not in named:
                path.unlink()
