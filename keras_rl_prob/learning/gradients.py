"""Gradients that were computed elsewhere, as data of a gradient step."""

from typing import Any, NamedTuple

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
