"""Messages between `RemoteEnv` and its server: JSON with shapes and dtypes of arrays, then the bytes of the arrays."""

import json
import math
import struct
from typing import Any

import numpy as np

MOST_BYTES = 64 * 2**20  # of a message
DTYPES = {
    np.dtype(name).name: np.dtype(name).newbyteorder("<")
    for name in ("bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
}
_LENGTH = struct.Struct(">I")


def checked_token(token: Any) -> str:
    """Returns a token, which the header of a request can have.

    Raises:
        ValueError: It is anything else; the text does not have it, for it is a secret.
    """
    if not (isinstance(token, str) and token and token.isascii() and token.isprintable()):
        raise ValueError(
            "`token` must be a string of printable ASCII characters. Received: something else, such as a file's last line break"
        )
    return token


def pack(value: Any) -> bytes:
    """Returns a message.

    Args:
        value: Nest of dicts with strings as keys, lists and tuples; its leaves are NumPy arrays and scalars of the dtypes
            `DTYPES`, strings, Python's numbers, and `None`.

    Raises:
        TypeError: `value` has something else.
        ValueError: The message would have more than `MOST_BYTES`.

    Example:
    >>> unpack(pack({"place": np.float32([1.0, 2.0]), "step": 3}))
    {'place': array([1., 2.], dtype=float32), 'step': 3}
    """
    arrays: list[np.ndarray] = []
    tree = _encoded(value, arrays)
    described = [[x.dtype.name, list(x.shape)] for x in arrays]
    header = json.dumps({"value": tree, "arrays": described}).encode()
    size = _LENGTH.size + len(header) + sum(x.nbytes for x in arrays)
    if size > MOST_BYTES:
        raise ValueError(f"A message must have at most {MOST_BYTES:,} bytes. Received: {size:,}")
    return b"".join(
        [_LENGTH.pack(len(header)), header, *(x.astype(DTYPES[x.dtype.name], "C").tobytes() for x in arrays)]
    )


def unpack(message: bytes) -> Any:
    """The inverse of `pack`.

    Raises:
        ValueError: The message is malformed, or has arrays of other dtypes.
    """
    try:
        (length,) = _LENGTH.unpack_from(message)
        content = json.loads(message[_LENGTH.size : _LENGTH.size + length])
        value, described = content["value"], content["arrays"]
        arrays, at = [], _LENGTH.size + length
        for name, shape in described:
            if name not in DTYPES:
                raise ValueError(f"Arrays must have one of the dtypes {sorted(DTYPES)}. Received: {name!r}")
            if not all(type(n) is int and n >= 0 for n in shape):
                raise ValueError(f"Shapes must be lists of integers of at least 0. Received: {shape!r}")
            count = math.prod(shape)
            flat = np.frombuffer(message, DTYPES[name], count, at)
            at += flat.nbytes
            arrays.append(flat.reshape(shape).astype(name))
        if at != len(message):
            raise ValueError(f"A message must end with its last array. Received: {len(message) - at} bytes more")
        return _decoded(value, arrays)
    except (struct.error, KeyError, TypeError, IndexError, RecursionError, OverflowError) as error:
        raise ValueError(f"The message is malformed. Received: {type(error).__name__}: {error}") from None


def portable(info: dict[str, Any]) -> dict[str, Any]:
    """The entries of a Gymnasium `info` that `pack` takes."""
    kept = {}
    for key, value in info.items():
        try:
            _encoded({key: value}, [])
            kept[key] = value
        except (TypeError, RecursionError):
            continue
    return kept


def _encoded(value, arrays):
    """`value` as JSON; puts its arrays into a list."""
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.name not in DTYPES:
            raise TypeError(f"Arrays must have one of the dtypes {sorted(DTYPES)}. Received: {value.dtype}")
        arrays.append(np.asarray(value))
        return {"scalar" if isinstance(value, np.generic) else "array": len(arrays) - 1}
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"Keys must be strings. Received: {list(value)}")
        return {"dict": {key: _encoded(x, arrays) for key, x in value.items()}}
    if isinstance(value, list | tuple):
        return {"tuple" if isinstance(value, tuple) else "list": [_encoded(x, arrays) for x in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"Values must be arrays, numbers, strings and nests of them. Received: {type(value).__name__}")


def _decoded(tree, arrays):
    if not isinstance(tree, dict):
        if isinstance(tree, list):
            raise TypeError("a list without a name")
        return tree
    ((kind, content),) = tree.items()
    if kind in ("array", "scalar"):
        if type(content) is not int or content < 0:
            raise IndexError("number of an array")
        return arrays[content] if kind == "array" else arrays[content][()]
    if kind == "dict":
        return {key: _decoded(x, arrays) for key, x in content.items()}
    if kind in ("list", "tuple"):
        return (tuple if kind == "tuple" else list)(_decoded(x, arrays) for x in content)
    raise KeyError(kind)
