"""Default networks with a stochastic policy and a value."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from keras_rl_prob import checks, spaces
from keras_rl_prob.distributions import JointActions
from keras_rl_prob.envs import spaces_of
from keras_rl_prob.envs.factory import EnvOrSpaces
from keras_rl_prob.layers import NoisyDense, StatefulRNN
from keras_rl_prob.layers.noisy_dense import noise_kind
from keras_rl_prob.networks.cells import cell_of
from keras_rl_prob.networks.encoder import dense, encoder, mask_of
from keras_rl_prob.networks.heads import heads
from keras_rl_prob.networks.observations import is_image


def feed_forward(
    env: EnvOrSpaces,
    units: Sequence[int] = (64, 64),
    value: bool = True,
    value_units: Sequence[int] | None = None,
    noisy: str | None = None,
    initial_scale: float | None = None,
    gain: float = 0.01,
    noise_steps: int | None = None,
) -> keras.Model:
    """A network without memory: separate tanh layers for the policy and for the value.

    Images go through the convolutions of `nature_cnn` first, which both share.

    Args:
        env: Anything that `fit` accepts, or a pair `(observation_space, action_space)` of Gymnasium spaces.
        units: Widths of the hidden layers.
        value: Whether there is a value.
        value_units: Widths of the hidden layers of the value, if they differ from those of the policy.
        noisy: `"factorized"` or `"independent"` noise on the policy's hidden layers (`krp.layers.NoisyDense`), or `None`.
        initial_scale: Scale of normal distributions before training, see `krp.layers.DenseNormal`; `None` for its default.
        gain: Gain of the orthogonal initialisation of the policy's last layer.
        noise_steps: `None`, or the steps for which state-dependent noise of `krp.layers.DenseGSDE` is kept.

    Returns:
        A Functional `keras.Model` from an observation `[B, ...]` to `{"action": ..., "value": [B, 1]}`.

    Raises:
        ValueError: An argument is none of these, or there is an `initial_scale` or `noise_steps` but no Box to act in.
    """
    observation_space, action_space = spaces_of(env)
    value, noisy = checks.flag("value", value), noise_kind("noisy", noisy, none=True)
    widths = checks.widths("units", units)
    value_widths = widths if value_units is None else checks.widths("value_units", value_units)
    inputs, x = encoder(observation_space)
    policy = critic = x
    for i in range(max(len(widths), len(value_widths))):
        policy = policy if i >= len(widths) else _hidden(widths[i], noisy)(policy)
        critic = critic if i >= len(value_widths) else dense(value_widths[i])(critic)
    options: dict[str, Any] = {"initial_scale": initial_scale, "gain": gain, "noise_steps": noise_steps}
    if not value:
        return keras.Model(inputs, {"action": heads(action_space, policy, mask_of(inputs), **options)})
    return _network(inputs, policy, critic, action_space, **options)


def _hidden(width, noisy):
    """A tanh layer, with noise of the kind `noisy` or without."""
    return dense(width) if noisy is None else NoisyDense(width, "tanh", kind=noisy)


def recurrent(
    env: EnvOrSpaces,
    cell: str | keras.layers.Layer | None = "lstm",
    units: int = 64,
    shared: bool = False,
    initial_scale: float | None = None,
    gain: float = 0.01,
) -> keras.Model:
    """A network with memory: a tanh layer, a recurrent layer and a tanh layer, separate for the policy and for the value.

    Images go through the convolutions of `nature_cnn` first, which both share. With `shared=True` policy and value share one
    tanh layer and one recurrent layer, without a layer after it: about half the weights and 1.9 times the rate of training, but
    it learns less reliably ([Benchmarks](../benchmarks.md#networks-with-memory)).

    Args:
        env: Anything that `fit` accepts, or a pair `(observation_space, action_space)` of Gymnasium spaces.
        cell: `"lstm"`, `"gru"`, `"simple"` or a Keras RNN cell.
        units: Width of the tanh layers, and of the recurrent layers if `cell` is a name.
        shared: Whether policy and value share their layers.
        initial_scale: Scale of normal distributions before training, see `krp.layers.DenseNormal`; `None` for its default.
        gain: Gain of the orthogonal initialisation of the policy's last layer.

    Returns:
        A Functional `keras.Model` from an observation `[B, ...]` to `{"action": ..., "value": [B, 1]}`.
    """
    observation_space, action_space = spaces_of(env)
    units, shared = checks.integer("units", units), checks.flag("shared", shared)
    inputs, x = encoder(observation_space)
    options: dict[str, Any] = {"initial_scale": initial_scale, "gain": gain}
    policy = StatefulRNN(cell_of(cell, units))(dense(units)(x))
    if shared:
        return _network(inputs, policy, policy, action_space, **options)
    critic = StatefulRNN(cell_of(_copy(cell), units))(dense(units)(x))
    return _network(inputs, dense(units)(policy), dense(units)(critic), action_space, **options)


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


def actor_critic(
    env: EnvOrSpaces,
    units: Sequence[int] = (64, 64),
    cell: str | keras.layers.Layer | None = None,
    critic: str = "value",
    shared: bool = False,
    critic_units: Sequence[int] | None = None,
    noisy: str | None = None,
    initial_scale: float | None = None,
    gain: float = 0.01,
) -> keras.Model:
    """A policy and a critic with tanh layers, and with memory if `cell` is given; separate or shared.

    Images go through the convolutions of `nature_cnn` first, which both share.

    Args:
        env: Anything that `fit` accepts, or a pair `(observation_space, action_space)` of Gymnasium spaces.
        units: Widths of the hidden layers. With memory the last one is that of the recurrent layer, if `cell` is a name.
        cell: `None`, `"lstm"`, `"gru"`, `"simple"` or a Keras RNN cell.
        critic: `"value"` for the value of an observation, `"q"` for the value of each action, of which there are at most
            1,000, those of a MultiDiscrete space in all combinations.
        shared: Whether policy and critic share the hidden layers and the memory.
        critic_units: Widths of the critic's layers, if they differ from those of the policy.
        noisy: `"factorized"` or `"independent"` noise on the policy's tanh layers (`krp.layers.NoisyDense`), or `None`.
        initial_scale: Scale of normal distributions before training, see `krp.layers.DenseNormal`; `None` for its default.
        gain: Gain of the orthogonal initialisation of the policy's last layer.

    Returns:
        A Functional `keras.Model` from an observation `[B, ...]` to `{"action": ..., "value": [B, 1]}`, or to
        `{"action": ..., "q": [B, actions]}`, whose last component changes fastest.

    Raises:
        ValueError: An argument is none of these, or there are no values of all actions.

    Example:
    >>> network = krp.networks.actor_critic("tf/CartPole-v1", (32,), cell="gru", critic="q")
    >>> network.output["q"].shape
    (None, 2)
    """
    observation_space, action_space = spaces_of(env)
    if critic not in ("value", "q"):
        raise ValueError(f'`critic` must be "value" or "q". Received: critic={critic!r}')
    outputs = JointActions(action_space).count if critic == "q" else 1
    least, noisy = 0 if cell is None else 1, noise_kind("noisy", noisy, none=True)
    widths, shared = checks.widths("units", units, least=least), checks.flag("shared", shared)
    critic_widths = widths if critic_units is None else checks.widths("critic_units", critic_units, least=least)
    if shared and critic_units is not None:
        raise ValueError(
            "`critic_units` must be `None` if policy and critic share their layers. "
            f"Received: critic_units={critic_units!r} and shared=True"
        )
    inputs, x = encoder(observation_space)

    def trunk(x, cell, widths, noisy):
        for width in widths if cell is None else widths[:-1]:
            x = _hidden(width, noisy)(x)
        return x if cell is None else StatefulRNN(cell_of(cell, widths[-1]))(x)

    policy = trunk(x, cell, widths, noisy)
    if not shared:
        x = trunk(x, _copy(cell), critic_widths, None)
    options: dict[str, Any] = {"initial_scale": initial_scale, "gain": gain}
    return _network(inputs, policy, policy if shared else x, action_space, critic, outputs, **options)


def _copy(cell):
    """A new cell with the configuration of `cell`, for a layer with weights of its own."""
    return cell if cell is None or isinstance(cell, str) else type(cell).from_config(cell.get_config())


def _network(inputs, policy, critic, action_space, name="value", outputs=1, **options):
    value = layers.Dense(outputs, kernel_initializer=keras.initializers.Orthogonal(1.0))(critic)
    return keras.Model(inputs, {"action": heads(action_space, policy, mask_of(inputs), **options), name: value})
