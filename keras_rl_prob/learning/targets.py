"""Target networks: copies that follow a network slowly, so that targets are stable."""

import keras
import tensorflow as tf


def target_of(network: keras.Model) -> keras.Model:
    """Returns a copy of a Functional model, including its weights, that is not trainable."""
    target = keras.models.clone_model(network)
    target.trainable = False
    target.set_weights(network.get_weights())
    return target


def follow(target: keras.Model, network: keras.Model, part: float | tf.Tensor) -> None:
    """Moves a target network by the fraction `part`, a scalar, towards its network; integer weights are not changed."""
    for slow, fast in zip(target.weights, network.weights, strict=True):
        if keras.backend.is_float_dtype(slow.dtype):
            slow.assign(slow + tf.cast(part, slow.dtype) * (fast - slow))
