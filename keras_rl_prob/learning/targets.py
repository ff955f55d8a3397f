"""Target networks: copies that follow a network slowly, so that targets are stable."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_rl_prob.networks.weights import take_weights


def target_of(network: keras.Model) -> keras.Model:
    """Returns a copy of a Functional model, including its weights, that is not trainable."""
    target = keras.models.clone_model(network)
    target.trainable, target.is_target = False, True
    take_weights(target, network)
    return target


def is_target(network: keras.Model) -> bool:
    """Whether a network is such a copy, which gradients do not change even if somebody makes all layers trainable."""
    return getattr(network, "is_target", False)


def follow(target: keras.Model, network: keras.Model, part: float | tf.Tensor) -> None:
    """Moves a target network by the fraction `part`, a scalar, towards its network; integer weights are not changed."""
    for slow, fast in zip(target.weights, network.weights, strict=True):
        if keras.backend.is_float_dtype(slow.dtype):
            slow.assign(slow + tf.cast(part, slow.dtype) * (fast - slow))


def checked_update(target_update: Any) -> int | float:
    """Returns the argument `target_update`: gradient steps between copies, an integer, or a part of the way, a float below 1.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(target_update, np.generic):
        target_update = target_update.item()
    fraction = isinstance(target_update, float) and 0.0 < target_update < 1.0
    if isinstance(target_update, bool) or not (fraction or (isinstance(target_update, int) and target_update >= 1)):
        raise ValueError(
            "`target_update` must be a positive integer, the gradient steps from one copy to the next, or a float "
            f"between 0 and 1, the part of the way at every step. Received: target_update={target_update!r}"
        )
    return target_update


def update(
    target: keras.Model, network: keras.Model, target_update: int | float | tf.Tensor, iterations: tf.Tensor
) -> None:
    """Updates a target network after a gradient step, as `target_update` says; `iterations`: gradient steps so far."""
    if not isinstance(target_update, int):
        follow(target, network, target_update)
    else:
        pairs = list(zip(target.weights, network.weights, strict=True))
        due = tf.equal(iterations % target_update, 0)
        tf.cond(due, lambda: [slow.assign(fast) for slow, fast in pairs] and None, lambda: None)
