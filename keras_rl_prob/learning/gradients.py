"""Gradients that were computed elsewhere, as data of a gradient step, and how an optimizer gets gradients."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf


class Gradient(NamedTuple):
    """The gradient of the loss on a rollout, which a copy of the agent has computed; the data of one gradient step.

    Attributes:
        loss: float32 scalar.
        logs: Dict of scalars to log besides the loss.
        gradients: Tuple of tensors, the gradient of the scaled loss for each variable of the agent's only part.
        scale: float32 scalar by which the loss was scaled, see `keras.optimizers.Optimizer.scale_loss`.
        steps: int64 scalar; number of environment steps in the rollout.
        moments: Tuple of the `Moments` with which the rollout changes the agent's statistics.
        report: Dict of float32 scalars that describe the rollout.
    """

    loss: tf.Tensor
    logs: dict
    gradients: tuple
    scale: tf.Tensor
    steps: tf.Tensor
    moments: tuple
    report: Any

    @property
    def updates(self) -> int:
        """Number of gradient steps."""
        return 1

    @property
    def index(self) -> int:  # type: ignore[override]
        """Number of earlier gradient steps on this rollout."""
        return 0

    def update(self, index: tf.Tensor) -> "Gradient":
        """Returns the data of a gradient step, of which there is one."""
        return self


def apply_gradients(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[tf.Tensor | tf.IndexedSlices],
    variables: Sequence[keras.Variable],
    squared_norm: tf.Tensor,
) -> None:
    """Lets an optimizer apply gradients, clipped by their known global norm if it has a `global_clipnorm`.

    Keras would sum the squares again, which in XLA takes a sixth of a gradient step with layers of 256 units. It still does for
    gradients that the optimizer divides or adds up first, and for those that are not float32 tensors.

    Args:
        optimizer: The optimizer, built for the variables.
        gradients: List of gradients.
        variables: List of variables.
        squared_norm: float32 scalar, the square of the global norm of the gradients.
    """
    limit = optimizer.global_clipnorm  # `None` for a `LossScaleOptimizer`, whose inner optimizer clips
    divided = optimizer.loss_scale_factor or optimizer.gradient_accumulation_steps
    plain = all(isinstance(x, tf.Tensor) and x.dtype == tf.float32 for x in gradients)
    if not limit or divided or not plain:
        optimizer.apply(gradients, variables)
        return
    factor = limit / tf.maximum(tf.sqrt(squared_norm), limit)
    optimizer.global_clipnorm = None
    try:
        optimizer.apply([x * factor for x in gradients], variables)
    finally:
        optimizer.global_clipnorm = limit


def values_of(variables: Sequence[keras.Variable]) -> list[tf.Tensor]:
    """The values that variables have now, for `undo_unless`."""
    return [tf.convert_to_tensor(variable.value) for variable in variables]


def undo_unless(healthy: tf.Tensor, variables: Sequence[keras.Variable], before: Sequence[tf.Tensor]) -> None:
    """Restores the values `before` of variables if `healthy`, a bool scalar, is False."""
    for variable, value in zip(variables, before, strict=True):  # no `tf.cond`: XLA would copy its variables
        variable.assign(tf.where(healthy, variable.value, value))
