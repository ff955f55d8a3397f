"""Uniform random numbers that are the same eagerly, in a graph and under XLA."""

from collections.abc import Sequence

import tensorflow as tf


def uniform(seed: tf.Tensor, shape: Sequence[int], low: float | tf.Tensor, high: float | tf.Tensor) -> tf.Tensor:
    """Draws uniformly from `[low, high)`, on a grid of 2^24 points.

    `tf.random.stateless_uniform` in float32 gives other numbers under XLA than outside it; its integers agree. Setting the
    algorithm matters too: XLA's default is thirty times slower on CPUs.

    Args:
        seed: int32 `[2]`.
        shape: Shape of the result.
        low: Lower bound, a float or a tensor that broadcasts to `shape`.
        high: Upper bound, likewise.

    Returns:
        float32 tensor of `shape`.

    Example:
    >>> bool(tf.reduce_all(tf.abs(uniform([3, 7], (100,), -0.5, 0.5)) <= 0.5))
    True
    """
    bits = tf.random.stateless_uniform(shape, seed, None, None, tf.uint32, alg="philox")
    unit = tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24
    return low + (high - low) * unit
