"""Normalisation of observations: which of their leaves get running statistics."""

import warnings

import gymnasium
import keras
import numpy as np
from gymnasium import spaces as gym_spaces

from keras_rl_prob import masks, spaces
from keras_rl_prob.envs import spaces_of
from keras_rl_prob.envs.factory import EnvOrSpaces
from keras_rl_prob.layers import Normalization
from keras_rl_prob.networks.observations import is_numeric


def observation_normalizers(
    observation_space: gymnasium.Space,
    action_space: gymnasium.Space,
    network: keras.Model,
    wanted: bool | Normalization,
) -> list[keras.layers.Layer]:
    """Returns a layer for each leaf of an observation: `RunningNormalization` for floats that are not an action mask.

    Integers of a Box that is not an image are normalised too, provided that the network has a float input for them.
    """
    exempt = {place.index for place in masks.places(observation_space, action_space)}
    names = spaces.leaf_names(observation_space)
    layers = []
    for index, (leaf, x) in enumerate(zip(spaces.leaves(observation_space), network.inputs, strict=True)):
        normalized = index not in exempt and np.issubdtype(leaf.dtype, np.floating)
        if index not in exempt and _is_integer(leaf):
            normalized = keras.backend.is_float_dtype(x.dtype)
            if not normalized:
                warnings.warn(
                    f"`normalize_observations` leaves the observation {names[index] or leaf!r} as it is, since the network "
                    f'takes {x.dtype} for it: `keras.Input({leaf.shape}, dtype="float32")` would normalise it.',
                    stacklevel=2,
                )
        layer = Normalization.layer(wanted) if normalized else keras.layers.Identity()
        layer.build((None, *leaf.shape))
        layers.append(layer)
    return layers


def normalized_spaces(env: EnvOrSpaces) -> EnvOrSpaces:
    """The spaces for a default network: `env`, or where integers are normalised a pair of spaces with floats in their place."""
    observation_space, action_space = spaces_of(env)
    if not any(map(_is_integer, spaces.leaves(observation_space))):
        return env

    def replaced(space):
        if isinstance(space, gym_spaces.Dict):
            parts = {key: child if key == masks.KEY else replaced(child) for key, child in space.spaces.items()}
            return gym_spaces.Dict(parts)
        if isinstance(space, gym_spaces.Tuple):
            return gym_spaces.Tuple(map(replaced, space.spaces))
        return gym_spaces.Box(-np.inf, np.inf, space.shape) if _is_integer(space) else space

    return replaced(observation_space), action_space


def _is_integer(leaf):
    return is_numeric(leaf) and not np.issubdtype(leaf.dtype, np.floating)
