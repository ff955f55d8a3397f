"""Type aliases for signatures; to a type checker, `tf.Tensor` and all of Keras are `Any`."""

import os
from typing import TYPE_CHECKING, Any, SupportsFloat, TypeAlias

import tensorflow as tf

Nest: TypeAlias = Any
"""A tensor or an array, or dicts and tuples of them, nested like a Gymnasium space."""

Shape: TypeAlias = tuple[int | None, ...]
"""A shape as in Keras, with `None` for an unknown dimension such as the batch size."""

Path: TypeAlias = str | os.PathLike[str]
"""Path of a file or a folder."""

Logs: TypeAlias = Any
"""The logs that Keras passes to a callback: a dict of numbers by name; `None` only if the callback is called by hand."""

Loss: TypeAlias = tuple[tf.Tensor, dict[str, tf.Tensor]]
"""A scalar loss, and a dict of scalars to log."""

GymReset: TypeAlias = tuple[Any, dict[str, Any]]
"""What `reset` of a `gymnasium.Env` returns: observation and info."""

GymStep: TypeAlias = tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]
"""What `step` of a `gymnasium.Env` returns: observation, reward, terminated, truncated and info."""

if TYPE_CHECKING:
    Mixin: TypeAlias = Any
else:
    Mixin = object
"""Base class of mixins for `keras.Model`: `object`, but `Any` for type checkers, which do not know the model's attributes."""
