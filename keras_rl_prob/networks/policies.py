"""Default networks with a stochastic policy and a value."""

from collections.abc import Sequence

import keras
from keras import layers

from keras_rl_prob import checks, spaces
from keras_rl_prob.envs import spaces_of
from keras_rl_prob.envs.factory import EnvOrSpaces
from keras_rl_prob.layers import StatefulRNN
from keras_rl_prob.networks.cells import cell_of
from keras_rl_prob.networks.encoder import dense, encoder, mask_of
from keras_rl_prob.networks.heads import heads
from keras_rl_prob.networks.observations import is_image


def feed_forward(env: EnvOrSpaces, units: Sequence[int] = (64, 64), value: bool = True) -> keras.Model:
    """A network without memory: separate tanh layers for the policy and for the value.

    Images go through the convolutions of `nature_cnn` first, which both share.

    Args:
        env: Anything that `fit` accepts, or a pair `(observation_space, action_space)` of Gymnasium spaces.
        units: Widths of the hidden layers.
        value: Whether there is a value.

    Returns:
        A Functional `keras.Model` from an observation `[B, ...]` to `{"action": ..., "value": [B, 1]}`.
    """
    observation_space, action_space = spaces_of(env)
    inputs, x = encoder(observation_space)
    policy = critic = x
    for width in checks.widths("units", units):
        policy, critic = dense(width)(policy), dense(width)(critic)
    if not value:
        return keras.Model(inputs, {"action": heads(action_space, policy, mask_of(inputs))})
    return _network(inputs, policy, critic, action_space)


def recurrent(env: EnvOrSpaces, cell: str | keras.layers.Layer | None = "lstm", units: int = 64) -> keras.Model:
    """A network with memory: a tanh layer and a recurrent layer, shared by policy and value.

    Args:
        env: Anything that `fit` accepts, or a pair `(observation_space, action_space)` of Gymnasium spaces.
        cell: `"lstm"`, `"gru"`, `"simple"` or a Keras RNN cell.
        units: Width of the hidden layer, and of the recurrent layer if `cell` is a name.

    Returns:
        A Functional `keras.Model` from an observation `[B, ...]` to `{"action": ..., "value": [B, 1]}`.
    """
    observation_space, action_space = spaces_of(env)
    units = checks.integer("units", units)
    inputs, x = encoder(observation_space)
    x = StatefulRNN(cell_of(cell, units))(dense(units)(x))
    return _network(inputs, x, x, action_space)


def nature_cnn(env: EnvOrSpaces, cell: str | keras.layers.Layer | None = None, units: int = 128) -> keras.Model:
    """A network for images: the convolutions of Mnih et al. (2015) and a Dense layer of 512, with memory if `cell` is given.

    An image has at least 32 by 32 pixels, with channels last, first or absent, or is a stack of colour frames; see
    `keras_rl_prob.networks.observations.image_axes`.

    Args:
        env: Anything that `fit` accepts, or a pair `(observation_space, action_space)`; its observations include an image.
        cell: `None`, `"lstm"`, `"gru"`, `"simple"` or a Keras RNN cell.
        units: Width of the recurrent layer, if `cell` is a name.

    Returns:
        A Functional `keras.Model` from an observation `[B, ...]` to `{"action": ..., "value": [B, 1]}`.
    """
    observation_space, action_space = spaces_of(env)
    if not any(map(is_image, spaces.leaves(observation_space))):
        raise ValueError(
            "`env` must have an image in its observations, a Box of at least 32 by 32 pixels with shape "
            f"[height, width, channels], [channels, height, width] or [height, width]. Received: {observation_space}"
        )
    inputs, x = encoder(observation_space)
    if cell is not None:
        x = StatefulRNN(cell_of(cell, units))(x)
    return _network(inputs, x, x, action_space)


def _network(inputs, policy, value, action_space):
    value = layers.Dense(1, kernel_initializer=keras.initializers.Orthogonal(1.0))(value)
    return keras.Model(inputs, {"action": heads(action_space, policy, mask_of(inputs)), "value": value})
