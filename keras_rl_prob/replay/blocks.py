"""Blocks of rows as bytes, for files."""

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np


def pack(arrays: Sequence[np.ndarray]) -> bytes:
    """Returns arrays as the content of an `.npz` file; only bytes and bools are compressed, others hardly get smaller."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for i, x in enumerate(arrays):
            content = io.BytesIO()
            np.save(content, x, allow_pickle=False)
            how = zipfile.ZIP_DEFLATED if x.itemsize == 1 else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(f"{i}.npy"), content.getbuffer(), how, compresslevel=1)
    return file.getvalue()


def unpack(data: bytes, dtypes: Sequence[Any]) -> list[np.ndarray]:
    """Returns the arrays that were passed to `pack`, which had these NumPy dtypes.

    Raises:
        ValueError: The data are damaged, or not a result of `pack`.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            # NumPy reads dtypes that it does not know, such as bfloat16, as raw bytes.
            return [archive[str(i)].view(dtype) for i, dtype in enumerate(dtypes)]
    except Exception as error:
        raise ValueError(f"A block of the replay buffer is damaged: {error}") from error
