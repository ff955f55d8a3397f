"""Conversion of values from and to environments.

Inside the library, values have the dtypes of `spaces.tensor_specs`: classes are counted from 0, real numbers are float32.
Environments return and take elements of their spaces. `Codec.encode` and `encode` convert values of an environment,
`Codec.decode` and `decode` values for one. The methods of `Codec` take arrays, the functions take tensors in a graph.
"""

import collections.abc
from collections.abc import Sequence
from typing import Any

import gymnasium
import keras
import numpy as np
import tensorflow as tf
from gymnasium import spaces as gym_spaces

from keras_rl_prob import spaces
from keras_rl_prob.types import Nest


class Codec:
    """Converts between batches of Gymnasium values and lists of arrays with the dtypes of `spaces.tensor_specs`.

    Everything that depends only on the space is computed once, since environments convert values at every step.

    Args:
        space: A Gymnasium space.
    """

    def __init__(self, space: gymnasium.Space) -> None:
        self._space, self._is_leaf = space, isinstance(space, spaces.LEAVES)
        self._leaves = [
            (leaf, spec.dtype.as_numpy_dtype)
            for leaf, spec in zip(spaces.leaves(space), _flat_specs(space), strict=True)
        ]
        self._shifted = [_has_start(leaf) for leaf in spaces.leaves(space)]

    def encode(self, values: Nest) -> list[np.ndarray]:
        """Copies a batch of Gymnasium values (a nest of arrays `[B, ...]`) to a list of arrays."""
        parts = [values] if self._is_leaf else [value for _, value in spaces.pairs(self._space, values)]
        encoded = []
        for (space, dtype), shifted, value in zip(self._leaves, self._shifted, parts, strict=True):
            array = np.asarray(value)
            if array.shape[1:] != space.shape:
                raise ValueError(
                    f"The environment returned an observation whose shape does not fit its space. "
                    f"Expected: {space.shape} (of {space}). Received: {array.shape[1:]}"
                )
            array = array - space.start if shifted else array
            if not np.can_cast(array.dtype, dtype, "same_kind") or array.dtype.itemsize > np.dtype(dtype).itemsize:
                _check_represented(space, array, dtype)
            encoded.append(array.astype(dtype))
        return encoded

    def decode(self, flat: Sequence[np.ndarray]) -> Nest:
        """The inverse of `encode`: a nest of arrays `[B, ...]` as a Gymnasium vector environment takes it."""
        decoded = iter(
            [
                _decode(space, shifted, array)
                for (space, _), shifted, array in zip(self._leaves, self._shifted, flat, strict=True)
            ]
        )
        return next(decoded) if self._is_leaf else spaces.map_structure(lambda leaf: next(decoded), self._space)


def encode(space: gymnasium.Space, value: Nest) -> Nest:
    """Converts a nest of tensors `[..., *shape]` of an environment to the dtypes of `spaces.tensor_specs`."""

    def leaf(space, x, dtype):
        start = getattr(space, "start", None)
        return tf.cast(x if start is None else x - tf.constant(start, x.dtype), dtype)

    specs = spaces.tensor_specs(space)
    flat = [
        leaf(*pair, spec.dtype) for pair, spec in zip(spaces.pairs(space, value), tf.nest.flatten(specs), strict=True)
    ]
    return tf.nest.pack_sequence_as(specs, flat)


def decode(space: gymnasium.Space, value: Nest, bounded: bool = True) -> Nest:
    """The inverse of `encode`: a nest of tensors in the dtypes of `space`, if `bounded` clipped to the bounds of Boxes."""

    def leaf(space, x):
        if not isinstance(space, gym_spaces.Box):
            x = tf.cast(x, space.dtype)
            return x if getattr(space, "start", None) is None else x + tf.constant(space.start, x.dtype)
        if not bounded:
            return tf.cast(x, space.dtype)
        if np.issubdtype(space.dtype, np.floating):
            most = min(np.finfo(space.dtype).max, x.dtype.max)
            return tf.clip_by_value(tf.cast(tf.clip_by_value(x, -most, most), space.dtype), space.low, space.high)
        x = tf.round(x) if x.dtype.is_floating else x
        if np.all(np.abs(np.stack([space.low, space.high]).astype(np.float64)) < 2**24):
            return tf.cast(tf.clip_by_value(x, tf.cast(space.low, x.dtype), tf.cast(space.high, x.dtype)), space.dtype)
        # These may be rounded outwards, where a cast to the space's dtype wraps around.
        low, high = (tf.cast(bound, x.dtype) for bound in (space.low, space.high))
        inside = (low < x) & (x < high)
        nearest = tf.where(x >= high, tf.constant(space.high), tf.constant(space.low))
        return tf.where(inside, tf.cast(tf.where(inside, x, tf.zeros_like(x)), space.dtype), nearest)

    return tf.nest.pack_sequence_as(value, [leaf(*pair) for pair in spaces.pairs(space, value)])


def _check_represented(space, array, dtype):
    """Raises a `ValueError` if an observation has integers that do not fit into `dtype`."""
    if np.issubdtype(dtype, np.integer) and array.size:
        limits = np.iinfo(dtype)
        if array.min() < limits.min or array.max() > limits.max:
            raise ValueError(
                f"The environment returned an observation that is not in its space. Expected: {space}. Received numbers from "
                f"{array.min()} to {array.max()}"
            )


def _decode(space, shifted, array):
    if isinstance(space, gym_spaces.Box):  # float32 may have rounded a bound outwards
        if np.issubdtype(space.dtype, np.floating):
            most = np.finfo(space.dtype).max
            return np.clip(np.clip(array, -most, most).astype(space.dtype), space.low, space.high)
        whole = np.rint(array) if np.issubdtype(array.dtype, np.floating) else array
        inside = (space.low < whole) & (whole < space.high)  # a cast of other numbers would wrap around
        return np.where(inside, np.where(inside, whole, 0).astype(space.dtype), _nearest(space, whole))
    return (array + space.start if shifted else array).astype(space.dtype)


def _nearest(space, array):
    """The nearest bound of each number that is not within the bounds."""
    return np.where(array >= space.high, space.high, space.low)


def _flat_specs(space):
    return keras.tree.flatten(spaces.tensor_specs(space))


def _has_start(space):
    return isinstance(space, gym_spaces.Discrete | gym_spaces.MultiDiscrete) and bool(np.any(space.start))


def misfit(space: gymnasium.Space, value: Any, exact: bool = False, what: str = "The observation") -> str | None:
    """Describes why an observation, or another value, does not match its space: structure, shape or dtype.

    Args:
        space: A Gymnasium space.
        value: The observation.
        exact: Whether also to reject additional keys, values out of bounds, and other dtypes even if they can be converted
            (any integer is accepted for a Discrete).
        what: The subject of the sentence.

    Returns:
        A sentence that says what was expected and received, or `None` if the observation matches.

    Example:
    >>> misfit(gym_spaces.Dict({"place": gym_spaces.Box(-1, 1, (2,))}), {"place": np.zeros(3, np.float32)})
    "The observation 'place' must have the shape (2,). Received: (3,)"
    """
    return next(_misfits(space, value, exact, what, ()), None)


def _misfits(space, value, exact, subject, path):
    what = f"{subject} {'_'.join(map(str, path))!r}" if path else subject
    if isinstance(space, gym_spaces.Dict):
        keys = sorted(space.spaces)
        if not isinstance(value, collections.abc.Mapping):
            yield f"{what} must be a dict with the keys {keys}. Received: {type(value).__name__}"
        elif set(value) != set(keys) if exact else not set(value) >= set(keys):
            yield f"{what} must have the keys {keys}. Received: {sorted(value, key=str)}"
        else:
            for key in keys:
                yield from _misfits(space.spaces[key], value[key], exact, subject, (*path, key))
    elif isinstance(space, gym_spaces.Tuple):
        if not isinstance(value, tuple | list) or len(value) != len(space.spaces):
            made = f"{len(value)} parts" if isinstance(value, tuple | list) else type(value).__name__
            yield f"{what} must be a tuple of {len(space.spaces)} parts. Received: {made}"
        else:
            for i, (child, part) in enumerate(zip(space.spaces, value, strict=True)):
                yield from _misfits(child, part, exact, subject, (*path, i))
    else:
        try:
            shape = np.shape(value)
        except ValueError:
            shape = "rows of different lengths"
        if shape != space.shape:
            yield f"{what} must have the shape {space.shape}. Received: {shape}"
        elif not _has_dtype(space, value, exact):
            made = getattr(value, "dtype", type(value).__name__)
            yield f"{what} must have the dtype {space.dtype}. Received: {made}"
        elif exact and isinstance(space, gym_spaces.Box) and not space.contains(np.asarray(value)):
            place = tuple(np.argwhere(~((value >= space.low) & (value <= space.high)))[0])
            bounds = f"[{space.low[place]}, {space.high[place]}]"
            at = f" at {[int(i) for i in place]}" if place else ""
            yield f"{what} must be in {bounds}{at}. Received: {np.asarray(value)[place]}"
        elif exact and not space.contains(value):
            yield f"{what} must be in {space}. Received: {value}"


def _has_dtype(space, value, exact):
    if not exact:
        return np.can_cast(np.asarray(value).dtype, space.dtype, "same_kind")
    if isinstance(space, gym_spaces.Discrete):
        return isinstance(value, int | np.integer) or getattr(value, "dtype", None) == space.dtype
    return getattr(value, "dtype", None) == space.dtype
