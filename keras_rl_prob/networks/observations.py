"""Preprocessing in default networks: which components of an observation are images, and how numbers are scaled.

| component | input of the network |
| --- | --- |
| Box that is an image (`image_axes`) | `[height, width, channels]`, between 0 and 1 by the bounds of the space |
| Box of floats | unchanged |
| Box of integers with tighter bounds than those of the dtype | between 0 and 1 by the bounds of the space |
| Box of integers without such bounds | `sign(x) log(1 + |x|) / log(256)`: 1 for 255, 0.4 for 10, 3.9 for 2^31 |
| Discrete, MultiDiscrete | one-hot |
| MultiBinary | 0 and 1 |
"""

import math
from typing import Any

import gymnasium
import keras
import numpy as np
import tensorflow as tf
from gymnasium import spaces as gym_spaces
from keras import layers

SMALLEST_IMAGE = 32  # rows and columns; smaller ones are grids of numbers


def image_axes(space: gymnasium.Space) -> tuple[int, int, tuple[int, ...]] | None:
    """Returns which axes of a space are height, width and channels; `None` if it is not an image.

    An image is a Box with two neighbouring axes of at least 32 entries: `[height, width]` of uint8, or int16 from -255 to 255,
    the differences of such images (`krp.envs.FrameDelta`); and with channels `[height, width, channels]`, or
    `[channels, height, width]` if nothing else fits. With four axes the two others must be smaller; together they become the
    channels, as for stacked colour frames `[frames, height, width, colours]`.

    Args:
        space: A Gymnasium space.

    Returns:
        `(height, width, channels)`, two integers and a tuple of integers, or `None`.

    Example:
    >>> image_axes(gym_spaces.Box(0, 255, (4, 96, 80, 3), np.uint8))
    (1, 2, (0, 3))
    """
    if not isinstance(space, gym_spaces.Box) or len(space.shape) not in (2, 3, 4):
        return None
    large = [size >= SMALLEST_IMAGE for size in space.shape]
    rank = len(space.shape)
    pairs = [i for i in range(rank - 1) if large[i] and large[i + 1]]
    if not pairs or (rank == 2 and not _is_of_bytes(space)) or (rank == 4 and sum(large) > 2):
        return None
    first = pairs[0]
    return first, first + 1, tuple(i for i in range(rank) if i not in (first, first + 1))


def _is_of_bytes(space):
    """Whether a space is one of bytes, or of their differences."""
    differences = space.dtype == np.int16 and (space.low == -255).all() and (space.high == 255).all()
    return space.dtype == np.uint8 or bool(differences)


def is_image(space: gymnasium.Space) -> bool:
    """Whether default networks apply convolutions to a space."""
    return image_axes(space) is not None


def is_numeric(space: gymnasium.Space) -> bool:
    """Whether a space is a Box that is not an image, so its numbers can be normalised."""
    return isinstance(space, gym_spaces.Box) and not is_image(space)


def as_image(space: gym_spaces.Box, x: tf.Tensor) -> tf.Tensor:
    """Converts images `[B, ...]` to `[B, height, width, channels]`, between 0 and 1 if the space has bounds."""
    axes: Any = image_axes(space)
    height, width, channels = axes
    order = [axis + 1 for axis in (height, width, *channels)]
    if order != sorted(order):
        x = layers.Permute(order)(x)
    if len(channels) != 1:
        x = layers.Reshape((space.shape[height], space.shape[width], math.prod(space.shape[i] for i in channels)))(x)
    return _scaled(space, x)


def as_numbers(space: gym_spaces.Box, x: tf.Tensor) -> tf.Tensor:
    """Scales numbers `[B, ...]` and flattens them to `[B, features]`."""
    if np.issubdtype(space.dtype, np.integer):
        if _says_more_than_its_dtype(space):
            x = _scaled(space, x)
        else:
            x = layers.Rescaling(1.0)(x)
            x = keras.ops.sign(x) * keras.ops.log(1.0 + keras.ops.abs(x)) * (1.0 / math.log(256.0))  # ONNX has no log1p
    elif space.dtype == np.bool_:
        x = layers.Rescaling(1.0)(x)
    return x if len(space.shape) == 1 else layers.Reshape((math.prod(space.shape),))(x)


def _says_more_than_its_dtype(space):
    limits = np.iinfo(space.dtype)
    return bool(space.is_bounded() and (space.low > limits.min).any() | (space.high < limits.max).any())


def _scaled(space, x):
    low, high = (float(bound) for bound in (np.min(space.low), np.max(space.high)))
    if not math.isfinite(high - low) or high == low:
        return layers.Rescaling(1.0)(x)
    return layers.Rescaling(1.0 / (high - low), -low / (high - low))(x)
