"""Stacks of frames, of which each frame is stored once."""

from collections.abc import Sequence

import gymnasium
import keras
import tensorflow as tf

from keras_rl_prob import spaces


def frames_of(observation_space: gymnasium.Space, axis: int) -> int:
    """Returns the number of frames in a stack; raises a `ValueError` if observations cannot be stacked along `axis`."""
    specs = spaces.tensor_specs(observation_space)
    if keras.tree.is_nested(specs) or not 0 <= axis < len(specs.shape):
        raise ValueError(
            "`frame_axis` must be an axis of a Box observation, along which frames are stacked. "
            f"Received: frame_axis={axis}, observation_space={observation_space}"
        )
    return specs.shape[axis]


def padding_of(stacks: tf.Tensor, axis: int, is_first: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What precedes an episode's first frame in its first stack: zeros, as ALE has them, or that frame again, as in Gymnasium.

    Args:
        stacks: Stacks of frames `[T, B, ...]`.
        axis: Axis along which they are stacked.
        is_first: bool `[T, B]`; whether a row starts an episode.

    Returns:
        `(after_zeros, known)`: bool `[T, B]`, whether zeros precede the first frame; bool scalar, whether all first stacks have
        one of the two.
    """
    frames = tf.unstack(stacks, axis=axis)

    def all_equal(x, y):
        return tf.reduce_all(tf.equal(x, y), tuple(range(2, len(x.shape))))

    zeros, repeated = tf.ones_like(is_first), tf.ones_like(is_first)
    for frame in frames[:-1]:
        zeros &= all_equal(frame, tf.zeros_like(frame))
        repeated &= all_equal(frame, frames[-1])
    return is_first & zeros, tf.reduce_all(~is_first | zeros | repeated)


class Frames:
    """Stores each frame of stacks of frames once: those before the first row, then the newest of each row.

    Args:
        count: Frames in a stack.
        axis: Axis of an observation along which they are stacked.
    """

    def __init__(self, count: int, axis: int) -> None:
        self._count, self._axis = count, axis + 2

    def spec(self, stacks: tf.TensorSpec) -> tf.TensorSpec:
        """Spec `[B, count - 1 + T + 1, ...]` of frames for that of stacks `[B, T + 1, ...]`."""
        batch, rows, *shape = stacks.shape
        return tf.TensorSpec((batch, self._count - 1 + rows, *without_axis(shape, self._axis - 2)), stacks.dtype)

    def apart(self, stacks: tf.Tensor) -> tf.Tensor:
        """Returns the frames of stacks, see `spec`."""
        first = tf.unstack(stacks[:, :1], axis=self._axis)[:-1]  # each [B, 1, ...]
        return tf.concat([*first, tf.gather(stacks, self._count - 1, axis=self._axis)], 1)

    def padding(self, stacks: tf.Tensor, is_first: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`padding_of` these stacks."""
        return padding_of(stacks, self._axis, is_first)

    def together(self, frames: tf.Tensor, is_first: tf.Tensor, after_zeros: tf.Tensor) -> tf.Tensor:
        """Stacks `[..., T + 1, ...]` for frames, with `is_first` and `after_zeros` of `padding_of`, bool `[..., T + 1]`."""
        leading, row = is_first.shape.rank - 1, tf.range(is_first.shape[-1])
        starts = is_first[..., None, :] & (row <= row[:, None])
        start = tf.reduce_max(tf.where(starts, row, -self._count), -1)  # of the row's episode
        place, first = row[:, None] + tf.range(self._count), start[..., None] + self._count - 1
        stacks = tf.gather(
            frames, tf.maximum(place, first), axis=leading, batch_dims=leading
        )  # [..., T + 1, count, ...]
        empty = (place < first) & tf.gather(after_zeros, tf.maximum(start, 0), axis=leading, batch_dims=leading)[
            ..., None
        ]
        empty = empty[(..., *[None] * (stacks.shape.rank - empty.shape.rank))]
        stacks = tf.where(empty, tf.zeros_like(stacks), stacks)
        order = [*range(stacks.shape.rank)]
        order.insert(leading + self._axis - 1, order.pop(leading + 1))
        return tf.transpose(stacks, order)


def without_axis(shape: Sequence[int], axis: int) -> list[int]:
    """Returns a shape without one of its axes."""
    shape = list(shape)
    del shape[axis]
    return shape
