"""The encoder of default networks: from an observation to one flat feature vector."""

import math
import warnings

import gymnasium
import keras
import numpy as np
from gymnasium import spaces as gym_spaces
from keras import layers

from keras_rl_prob import masks, spaces
from keras_rl_prob.networks.observations import as_image, as_numbers, is_image
from keras_rl_prob.types import Nest

MOST_CLASSES = 10_000  # of one component of a space
LARGEST_LAYER = 20_000_000  # weights of the Dense layer behind the convolutions, from which on there is a warning


def encoder(observation_space: gymnasium.Space, name: str | None = None) -> tuple[Nest, keras.KerasTensor]:
    """Creates input layers for every component of an observation, and one flat feature vector of them all.

    Numbers are scaled and flattened, classes become one-hot, images go through the convolutions of `nature_cnn`; see
    `keras_rl_prob.networks.observations`. The `"action_mask"` of a Dict is not a feature; pass
    `inputs["action_mask"]` to `heads`.

    Args:
        observation_space: A Gymnasium space.
        name: Prefix of the names of the inputs, for networks that encode more than an observation: the names of inputs must
            be unique.

    Returns:
        `(inputs, features)`: a nest of `keras.Input`s like the space, and a tensor `[B, F]`.

    Raises:
        ValueError: There is nothing besides a mask.
    """
    specs = spaces.tensor_specs(observation_space)
    names = spaces.graph_names(observation_space, ".")
    if name is not None:
        names = [f"{name}.{leaf}" if leaf else name for leaf in names]
    inputs = keras.tree.pack_sequence_as(
        specs,
        [
            keras.Input(tuple(spec.shape), dtype=spec.dtype.name, name=leaf or "observation")
            for leaf, spec in zip(names, keras.tree.flatten(specs), strict=True)
        ],
    )
    components = zip(spaces.leaves(observation_space), keras.tree.flatten_with_path(inputs), strict=True)
    features = [_features(leaf, x) for leaf, (path, x) in components if path[:1] != (masks.KEY,)]
    if not features:
        raise ValueError(
            f"`observation_space` must have something besides {masks.KEY!r}. Received: "
            f"observation_space={observation_space}"
        )
    return inputs, layers.Concatenate()(features) if len(features) > 1 else features[0]


def _features(leaf, x):
    if is_image(leaf):
        x, options = as_image(leaf, x), {"activation": "relu", "kernel_initializer": "orthogonal"}
        for filters, size, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1)):
            size = min(size, *x.shape[1:3])
            x = layers.Conv2D(filters, size, stride, data_format="channels_last", **options)(x)
        x = layers.Flatten(data_format="channels_last")(x)
        if 512 * x.shape[1] > LARGEST_LAYER:
            warnings.warn(
                f"Images of the shape {leaf.shape} make a network of {512 * x.shape[1] / 1e6:.0f} million weights. "
                "`gymnasium.wrappers.ResizeObservation(env, (84, 84))` makes them smaller.",
                stacklevel=2,
            )
        return dense(512, "relu")(x)
    check_classes(leaf, "an observation, use a network of your own with `keras.layers.Embedding`")
    if isinstance(leaf, gym_spaces.Discrete):
        return layers.CategoryEncoding(int(leaf.n), output_mode="one_hot")(x)
    if isinstance(leaf, gym_spaces.MultiDiscrete):
        x = layers.CategoryEncoding(int(leaf.nvec.max()), output_mode="one_hot")(x)
        return layers.Reshape((math.prod(x.shape[1:]),))(x)
    if isinstance(leaf, gym_spaces.MultiBinary):
        x = layers.Rescaling(1.0)(x)
        return x if len(leaf.shape) == 1 else layers.Reshape((math.prod(leaf.shape),))(x)
    return as_numbers(leaf, x)


def dense(width: int, activation: str = "tanh") -> keras.layers.Dense:
    """A Dense layer with orthogonal initialisation of gain sqrt(2)."""
    return layers.Dense(width, activation, kernel_initializer=keras.initializers.Orthogonal(math.sqrt(2.0)))


def mask_of(nest: Nest) -> Nest:
    """The action mask in an observation or in inputs like it; `None` if there is none."""
    return nest.get(masks.KEY) if isinstance(nest, dict) else None


def check_classes(leaf: gymnasium.Space, cure: str) -> None:
    """Raises a `ValueError` for a space with too many classes for one unit each."""
    classes = getattr(leaf, "n", 0) if isinstance(leaf, gym_spaces.Discrete) else np.max(getattr(leaf, "nvec", 0))
    if int(classes) > MOST_CLASSES:
        raise ValueError(
            f"`network` must be given for spaces of more than {MOST_CLASSES} classes, each of which would be a unit of the "
            f"default one: for {cure}. Received: {leaf}"
        )
