"""Which parts of an observation are normalised."""

import keras
import tensorflow as tf

from keras_rl_prob import masks, spaces
from keras_rl_prob.layers import RunningNormalization


def observation_normalizers(observation_space, action_space):
    """A layer for each leaf of an observation: `RunningNormalization` for real numbers that are no action mask."""
    exempt = {place.index for place in masks.places(observation_space, action_space)}
    layers = []
    for index, spec in enumerate(keras.tree.flatten(spaces.tensor_specs(observation_space))):
        normalized = spec.dtype == tf.float32 and index not in exempt
        layer = RunningNormalization(dtype="float32") if normalized else keras.layers.Identity()
        layer.build((None, *spec.shape))
        layers.append(layer)
    return layers
