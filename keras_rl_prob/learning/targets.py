"""Target networks: copies that follow a network slowly, for the learner not to chase itself."""

import keras
import tensorflow as tf


def target_of(network: keras.Model) -> keras.Model:
    """A copy of a Functional model, weights included, that no gradient changes."""
    target = keras.models.clone_model(network)
    target.trainable = False
    target.set_weights(network.get_weights())
    return target


def follow(target: keras.Model, network: keras.Model, part: float | tf.Tensor) -> None:
    """Moves a target network this part of the way to its network, a scalar between 0 and 1; counters stay as they are."""
    for slow, fast in zip(target.weights, network.weights, strict=True):
        if keras.backend.is_float_dtype(slow.dtype):
            slow.assign(slow + tf.cast(part, slow.dtype) * (fast - slow))
