"""Gymnasium spaces as nests of tensors.

A `Dict` space becomes a dict (keys sorted), a `Tuple` a tuple, and every other supported space a leaf. `Discrete` spaces that
do not start at 0 are shifted, so that inside the library class indices always start at 0.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gymnasium
import keras
import numpy as np
import tensorflow as tf
from gymnasium import spaces

from keras_rl_prob.types import Nest

NO_NAME = re.compile("[^0-9A-Za-z_]")
CURES = {  # for spaces that are not supported
    "observation_space": "Leave it out with `gymnasium.wrappers.FilterObservation`, or convert it to numbers with "
    "`gymnasium.wrappers.TransformObservation`",
    "action_space": "Convert it to one of these with `gymnasium.wrappers.TransformAction`",
}
LEAVES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def map_structure(function: Callable[[gymnasium.Space], Any], space: gymnasium.Space) -> Nest:
    """Applies `function` to every leaf of `space`; returns a nest of dicts and tuples with the results."""
    if isinstance(space, spaces.Dict):
        return {key: map_structure(function, space.spaces[key]) for key in sorted(space.spaces)}
    if isinstance(space, spaces.Tuple):
        return tuple(map_structure(function, child) for child in space.spaces)
    return function(space)


def leaves(space: gymnasium.Space) -> list[Any]:
    """The leaf spaces of `space` in the order of its flattened nest."""
    return keras.tree.flatten(map_structure(lambda leaf: leaf, space))


def leaf_names(space: gymnasium.Space) -> list[str]:
    """The path to each of `leaves(space)`, such as `["arm_0", "arm_1", "tool"]`; `[""]` for a space that is a leaf itself."""
    paths = keras.tree.flatten_with_path(map_structure(lambda leaf: 0, space))
    return ["_".join(map(str, path)) for path, _ in paths]


def graph_names(space: gymnasium.Space, separator: str = "_") -> list[str]:
    """Returns a unique name for each of `leaves(space)` that is valid for layers, in graphs and in files.

    Args:
        space: A Gymnasium space.
        separator: String between the keys of nested spaces.

    Returns:
        List of strings, the empty string for a space that is a leaf itself.

    Example:
    >>> graph_names(spaces.Dict({"arm/left": spaces.Discrete(2), "arm left": spaces.Discrete(3), "ü": spaces.Discrete(2)}))
    ['arm_left', 'arm_left_', 'x_']
    """
    names = []
    for path, _ in keras.tree.flatten_with_path(map_structure(lambda leaf: 0, space)):
        name = separator.join(NO_NAME.sub("_", str(key)) for key in path)
        name = f"x{name}" if name.startswith("_") else name
        while name in names:
            name += "_"
        names.append(name)
    return names


def check_supported(space: gymnasium.Space, name: str) -> None:
    """Raises a `ValueError` unless `space` is made of Box, Discrete, MultiDiscrete, MultiBinary, Tuple and Dict.

    Args:
        space: A Gymnasium space.
        name: Name of the space in the message, such as `"action_space"`.
    """
    empty = not leaves(space) or any(
        isinstance(part, spaces.Dict | spaces.Tuple) and not part.spaces for part in _parts(space)
    )
    if (name == "action_space" and empty) or not leaves(space):
        raise ValueError(f"`{name}` must have at least one component. Received: {name}={space}")
    for leaf, key in zip(leaves(space), leaf_names(space), strict=True):
        if not isinstance(leaf, LEAVES):
            place = f" under {key!r}" if key else ""
            raise ValueError(
                f"`{name}` must be made of Box, Discrete, MultiDiscrete, MultiBinary, Tuple and Dict spaces. "
                f"Received: {name}={space}, which contains {type(leaf).__name__}{place}. {CURES.get(name, '')}"
            )
        if isinstance(leaf, spaces.Box) and name == "action_space" and leaf.low.size and (leaf.low > leaf.high).any():
            raise ValueError(
                f"`{name}` must have no low bound above its high bound. Received: {leaf} in {name}={space}"
            )
        if not _in(np.int64, leaf):
            raise ValueError(f"`{name}` must have integers that fit into int64. Received: {leaf} in {name}={space}")


def _parts(space):
    """Yields a space and all spaces nested in it."""
    yield space
    if isinstance(space, spaces.Dict | spaces.Tuple):
        for part in space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces:
            yield from _parts(part)


def tensor_specs(space: gymnasium.Space) -> Nest:
    """Nest of `tf.TensorSpec`s of one element of `space`.

    float32 for real numbers, uint8 for bytes, otherwise int32, or int64 if the space has numbers beyond int32.
    """

    def spec(leaf):
        if np.issubdtype(leaf.dtype, np.floating):
            return tf.TensorSpec(leaf.shape, tf.float32)
        if leaf.dtype == np.uint8:
            return tf.TensorSpec(leaf.shape, tf.uint8)
        return tf.TensorSpec(leaf.shape, tf.int32 if _in(np.int32, leaf) else tf.int64)

    return map_structure(spec, space)


def zeros(space: gymnasium.Space, batch_size: int) -> Nest:
    """Nest of zeros `[batch_size, ...]` with the shapes and dtypes of `tensor_specs(space)`."""
    return tf.nest.map_structure(lambda spec: tf.zeros((batch_size, *spec.shape), spec.dtype), tensor_specs(space))


def _in(dtype, leaf):
    """Whether the integers of a leaf space, counted from 0 if it has a start, fit into `dtype`."""
    if not isinstance(leaf, spaces.Box):
        largest = leaf.n - 1 if isinstance(leaf, spaces.Discrete) else np.max(getattr(leaf, "nvec", 2)) - 1
        return int(largest) <= np.iinfo(dtype).max
    if leaf.low.size == 0 or not np.issubdtype(leaf.dtype, np.integer):
        return True
    return np.iinfo(dtype).min <= int(leaf.low.min()) and int(leaf.high.max()) <= np.iinfo(dtype).max


def pairs(space: gymnasium.Space, value: Nest) -> Iterator[tuple[Any, Any]]:
    """Yields each leaf space with its part of `value`, in the order of `leaves`."""
    if isinstance(space, spaces.Dict):
        for key in sorted(space.spaces):
            yield from pairs(space.spaces[key], value[key])
    elif isinstance(space, spaces.Tuple):
        for child, part in zip(space.spaces, value, strict=True):
            yield from pairs(child, part)
    else:
        yield space, value


def map_values(function: Callable[[Any], Any], space: gymnasium.Space, value: Nest) -> Nest:
    """Applies `function` to every leaf of `value`, an element of `space` or a batch of them."""
    iterator = pairs(space, value)
    return map_structure(lambda leaf: function(next(iterator)[1]), space)


def stack(space: gymnasium.Space, values: Iterable[Nest]) -> Nest:
    """Stacks elements of a space, nests of arrays, to a nest of arrays `[N, ...]`."""
    columns = zip(*([part for _, part in pairs(space, value)] for value in values), strict=True)
    stacked = iter([np.stack(column) for column in columns])
    return map_structure(lambda leaf: next(stacked), space)


def clip(space: gymnasium.Space, action: Nest) -> Nest:
    """Clips the Box leaves of a nest of action tensors `[B, ...]` to the bounds of `space`; does not change other leaves."""

    def leaf(space, value):
        if not isinstance(space, spaces.Box) or not (np.isfinite(space.low).any() or np.isfinite(space.high).any()):
            return value
        low, high = space.low, space.high
        return tf.clip_by_value(value, tf.constant(low, value.dtype), tf.constant(high, value.dtype))

    flat = [leaf(*pair) for pair in zip(leaves(space), keras.tree.flatten(action), strict=True)]
    return keras.tree.pack_sequence_as(action, flat)


def bounded(leaf: spaces.Box) -> np.ndarray:
    """Which components of a Box have a range, bool: neither bound is infinite, nor their difference beyond float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.isfinite(leaf.high.astype(np.float32) - leaf.low.astype(np.float32))


def sample(space: gymnasium.Space, batch_size: int, seed: tf.Tensor) -> Nest:
    """Random elements of a space: uniform within two bounds, else standard normal, clipped if there is one bound.

    Args:
        space: A Gymnasium space.
        batch_size: `B`.
        seed: int32 `[2]`.

    Returns:
        A nest of tensors `[B, ...]` in `tensor_specs`' dtypes.
    """

    def leaf(space, seed):
        shape = (batch_size, *space.shape)
        if isinstance(space, spaces.MultiBinary):
            return tf.random.stateless_uniform(shape, seed, 0, 2, tf.int32)
        if np.issubdtype(space.dtype, np.integer) and isinstance(space, spaces.Box):
            return _sample_integers(space, shape, seed)
        uniform = tf.random.stateless_uniform(shape, seed)
        if not isinstance(space, spaces.Box):
            classes = space.n if isinstance(space, spaces.Discrete) else space.nvec
            return tf.cast(uniform * tf.cast(classes, tf.float32), tf.int32)
        with np.errstate(over="ignore"):
            width = space.high.astype(np.float32) - space.low.astype(np.float32)
        bounded = np.isfinite(width)
        low, width = np.where(bounded, space.low, 0).astype(np.float32), np.where(bounded, width, 0)
        x = tf.where(bounded, low + uniform * width, tf.random.stateless_normal(shape, seed))
        return tf.clip_by_value(x, space.low.astype(np.float32), space.high.astype(np.float32))

    flat = [leaf(space, seed + [i, 11]) for i, space in enumerate(leaves(space))]
    return tf.nest.pack_sequence_as(tensor_specs(space), flat)


def _sample_integers(space, shape, seed):
    """Random integers between the bounds of a Box, both inclusive."""
    dtype, low, high = tensor_specs(space).dtype, space.low.astype(np.float64), space.high.astype(np.float64)
    high = np.where(high > np.iinfo(np.int64).max - 1024, np.nextafter(2.0**63, 0.0), high)
    x = tf.floor(low + tf.random.stateless_uniform(shape, seed, dtype=tf.float64) * (high - low + 1.0))
    return tf.cast(tf.clip_by_value(x, low, high), dtype)


def serialize(space: gymnasium.Space) -> dict[str, Any]:
    """Returns a JSON-serializable description of `space`; `deserialize` makes an equal space from it."""
    if isinstance(space, spaces.Dict):
        return {"type": "Dict", "spaces": {key: serialize(child) for key, child in space.spaces.items()}}
    if isinstance(space, spaces.Tuple):
        return {"type": "Tuple", "spaces": [serialize(child) for child in space.spaces]}
    if isinstance(space, spaces.Box):
        bounds = {"low": _bound(space.low), "high": _bound(space.high)}
        return {"type": "Box", "shape": list(space.shape), "dtype": np.dtype(space.dtype).name, **bounds}
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start), "dtype": np.dtype(space.dtype).name}
    if isinstance(space, spaces.MultiDiscrete):
        return {
            "type": "MultiDiscrete",
            "nvec": space.nvec.tolist(),
            "start": space.start.tolist(),
            "dtype": np.dtype(space.dtype).name,
        }
    return {"type": "MultiBinary", "shape": list(space.shape or ())}


def _bound(array):
    """A bound as nested lists of JSON numbers, or a single number if all are equal; infinities are strings."""
    array = np.asarray(array)
    if array.size and (array == array.flat[0]).all():
        array = array.flat[0]
    return keras.tree.map_structure(lambda x: x if np.isfinite(x) else str(x), array.tolist())


def deserialize(config: dict[str, Any]) -> gymnasium.Space:
    """Returns the space that `serialize` described; raises a `ValueError` for a type that is not supported."""
    kind = config.get("type")
    if kind == "Dict":
        return spaces.Dict({key: deserialize(child) for key, child in config["spaces"].items()})
    if kind == "Tuple":
        return spaces.Tuple([deserialize(child) for child in config["spaces"]])
    if kind == "Box":
        dtype, shape = np.dtype(config["dtype"]), tuple(config["shape"])
        low, high = (np.array(keras.tree.map_structure(dtype.type, config[key]), dtype) for key in ("low", "high"))
        return spaces.Box(np.broadcast_to(low, shape), np.broadcast_to(high, shape), shape, dtype.type)
    if kind == "Discrete":
        return spaces.Discrete(config["n"], start=config["start"], dtype=np.dtype(config["dtype"]))
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(
            np.array(config["nvec"]), np.dtype(config["dtype"]), start=np.array(config["start"])
        )
    if kind == "MultiBinary":
        shape = config["shape"]
        return spaces.MultiBinary(shape[0] if len(shape) == 1 else shape)
    raise ValueError(f"`type` must be the name of a supported space. Received: type={kind!r}")
