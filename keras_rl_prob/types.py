"""Names for types that signatures need in many places; to a type checker, `tf.Tensor` and all of Keras are `Any`."""

import os
from typing import TYPE_CHECKING, Any, SupportsFloat, TypeAlias

import tensorflow as tf

Nest: TypeAlias = Any
"""A tensor or an array, or dicts and tuples of them, nested like a Gymnasium space."""

Shape: TypeAlias = tuple[int | None, ...]
"""A shape as Keras has it, `None` for the size of a batch."""

Path: TypeAlias = str | os.PathLike[str]
"""Name of a file or a folder."""

Logs: TypeAlias = Any
"""What Keras tells a callback: a dict of numbers by name; `None` only where the callback is called by hand."""

Loss: TypeAlias = tuple[tf.Tensor, dict[str, tf.Tensor]]
"""A loss and scalars to be reported, by their names."""

GymReset: TypeAlias = tuple[Any, dict[str, Any]]
"""What `reset` of a `gymnasium.Env` returns: observation and infos."""

GymStep: TypeAlias = tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]
"""What `step` of a `gymnasium.Env` returns: observation, reward, terminated, truncated and infos."""

if TYPE_CHECKING:
    Mixin: TypeAlias = Any
else:
    Mixin = object
"""Base of what is mixed into a `keras.Model`: none, but a type checker must not look for what that has."""
