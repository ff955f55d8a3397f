"""Blocks of rows as bytes, for files."""

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np


def pack(arrays: Sequence[np.ndarray]) -> bytes:
    """Arrays as the content of an `.npz` file; bytes and flags are compressed, for other numbers hardly get smaller."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for i, x in enumerate(arrays):
            content = io.BytesIO()
            np.save(content, x, allow_pickle=False)
            how = zipfile.ZIP_DEFLATED if x.itemsize == 1 else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(f"{i}.npy"), content.getbuffer(), how, compresslevel=1)
    return file.getvalue()


def unpack(data: bytes, dtypes: Sequence[Any]) -> list[np.ndarray]:
    """The arrays that `pack` got, which were of these NumPy types.

    Raises:
        ValueError: The data are something else, or damaged.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            # Types that NumPy does not know, as bfloat16, come back as mere bytes.
            return [archive[str(i)].view(dtype) for i, dtype in enumerate(dtypes)]
    except Exception as error:
        raise ValueError(f"A block of the replay memory is damaged: {error}") from error
