"""Failures that stop training: non-finite numbers, action masks that allow no action, and stacks of unknown frames."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

NONE, OBSERVATION, REWARD, LOSS, MASK, WEIGHTS, STACK = range(7)  # values of an agent's variable `failure`
MESSAGES = {
    OBSERVATION: "an observation of the environment is not finite, or is normalised and exceeds 1e15",
    REWARD: "a reward of the environment is not finite, or is normalised and exceeds 1e15",
    LOSS: "the loss or its gradient is not finite",
    MASK: "an action mask of the environment allows no action though the episode has not ended",
    WEIGHTS: "the optimizer made weights that are not finite",
    STACK: "the first observation of an episode has neither its first frame in all of the stack, nor zeros before it, and "
    "`frame_axis` could not restore it",
}

LARGEST_NORMALIZED = 1e15  # the squares of such numbers and of their returns can still be summed in float32


def finite(tensors: Sequence[tf.Tensor | tf.IndexedSlices]) -> tf.Tensor:
    """Whether tensors and their global norm are finite, bool scalar."""
    return tf.math.is_finite(squared_norm(tensors))


def squared_norm(tensors: Sequence[tf.Tensor | tf.IndexedSlices]) -> tf.Tensor:
    """The square of the global norm, float32 scalar.

    Squares of matrices are summed by matrix products with ones, which takes a tenth of the time of a sum in XLA.

    Args:
        tensors: List of tensors of floats or `tf.IndexedSlices`.
    """
    halves, columns = [tf.constant(0.0)], []
    for x in tensors:
        x = tf.cast(x, tf.float32)
        if x.shape.rank < 2:
            halves.append(tf.nn.l2_loss(x))
        else:
            x = x if x.shape.rank == 2 else tf.reshape(x, (-1, x.shape[-1]))
            columns.append(tf.matmul(tf.square(x), tf.ones((x.shape[-1], 1))))
    total = 2.0 * tf.add_n(halves)
    return total + tf.reduce_sum(tf.concat(columns, 0)) if columns else total


def check_healthy(failure: int, logs: dict[str, Any], optimizer: keras.optimizers.Optimizer) -> None:
    """Raises an error that names the cause, unless `failure` is `NONE`.

    Args:
        failure: Value of the agent's variable `failure`.
        logs: Logs of the last update.
        optimizer: The Keras optimizer of the updates.

    Raises:
        FloatingPointError: An observation, a reward, the loss, its gradient or the weights are not finite.
        ValueError: An action mask allows no action, or an observation is no stack of frames.
    """
    if failure != NONE:
        known = {key: float(value) for key, value in logs.items() if "loss" in key or key == "env_steps"}
        if failure == WEIGHTS:
            known |= {"optimizer": optimizer.name, "learning_rate": float(optimizer.learning_rate)}
        error = ValueError if failure in (MASK, STACK) else FloatingPointError
        raise error(
            f"{MESSAGES[failure]}. The weights are those before that update, and training has stopped. "
            f"Received: {known}"
        )
