"""What stops a training: numbers that are not finite, and masks that allow nothing."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

FAILURES = (
    "",
    "an observation of the environment is not finite, or beyond 1e15 and to be normalised",
    "a reward of the environment is not finite, or beyond 1e15 and to be normalised",
    "the loss or its gradient is not finite",
    "an action mask of the environment allows no action though the episode goes on",
    "the optimizer made weights that are not finite",
)
"""By the number that an agent's variable `failure` holds; 0 is health."""

LARGEST_NORMALIZED = 1e15  # whose squares, and those of returns, float32 can still add up

WEIGHTS = FAILURES.index("the optimizer made weights that are not finite")


def finite(tensors: Sequence[tf.Tensor | tf.IndexedSlices]) -> tf.Tensor:
    """Whether tensors and their global norm are finite, bool scalar.

    Squares are added up by products with ones, which XLA does at three times the speed of a sum.

    Args:
        tensors: List of tensors of floats or `tf.IndexedSlices`.
    """
    sums = []
    for x in tensors:
        squares = tf.square(tf.cast(x, tf.float32))
        if squares.shape.rank > 1:
            columns = squares.shape[-1]
            squares = tf.linalg.matvec(tf.reshape(squares, (-1, columns)), tf.ones((columns,)))
        sums.append(tf.reduce_sum(squares))
    return tf.math.is_finite(tf.add_n(sums))


def check_healthy(failure: int, logs: dict[str, Any], optimizer: keras.optimizers.Optimizer) -> None:
    """Raises an error that names the culprit unless `failure` is 0.

    Args:
        failure: Integer, an index of `FAILURES`.
        logs: What the last update reported.
        optimizer: The Keras optimizer of the updates.

    Raises:
        FloatingPointError: Something is not finite.
        ValueError: A mask allows nothing.
    """
    if failure:
        known = {key: float(value) for key, value in logs.items() if "loss" in key or key == "env_steps"}
        if failure == WEIGHTS:
            known |= {"optimizer": optimizer.name, "learning_rate": float(optimizer.learning_rate)}
        error = ValueError if failure == 4 else FloatingPointError
        raise error(
            f"{FAILURES[failure]}. The weights are those of before that update, and training has stopped. "
            f"Received: {known}"
        )
