"""Default networks of actor-critics with a replay buffer: policies, and critics of actions."""

import math
from collections.abc import Sequence
from typing import Any

import gymnasium
import keras
import numpy as np
from gymnasium import spaces as gym_spaces
from keras import layers

from keras_rl_prob import checks, spaces
from keras_rl_prob.distributions import ActionParts
from keras_rl_prob.envs.factory import EnvOrSpaces, spaces_of
from keras_rl_prob.layers import DenseNormal, StatefulRNN
from keras_rl_prob.networks.cells import cell_of
from keras_rl_prob.networks.encoder import encoder as features_of
from keras_rl_prob.networks.encoder import mask_of
from keras_rl_prob.networks.heads import heads
from keras_rl_prob.networks.observations import is_image


def stochastic_actor(
    env: EnvOrSpaces,
    units: Sequence[int] = (256, 256),
    cell: str | keras.layers.Layer | None = None,
    initial_scale: float | None = None,
    noise_steps: int | None = None,
    encoder: keras.Model | None = None,
) -> keras.Model:
    """A policy with ReLU layers, and with a scale that depends on the observation: that of `krp.SAC`.

    Args:
        env: Anything that `fit` accepts, or a pair `(observation_space, action_space)` of Gymnasium spaces.
        units: Widths of the hidden layers.
        cell: `None`, or `"lstm"`, `"gru"`, `"simple"` or a Keras RNN cell for a memory behind the first layer, of its width.
        initial_scale: Scale of normal distributions before training, see `krp.layers.DenseNormal` and, with `noise_steps`,
            `krp.layers.DenseGSDE`; `None` for its default.
        noise_steps: `None`, or the steps for which state-dependent noise of `krp.layers.DenseGSDE` is kept.
        encoder: Functional model from an observation to features `[B, F]`, which policy and critics share: only the critics
            train it. `None` makes a `krp.networks.shared_encoder` for images, and has the layers begin at the observation
            otherwise.

    Returns:
        A Functional `keras.Model` from an observation `[B, ...]` to `{"action": ...}`.

    Raises:
        ValueError: A continuous component of an action can have only one value, or an argument does not fit the spaces.

    Example:
    >>> krp.networks.stochastic_actor("tf/Pendulum-v1", (32,)).output["action"].shape  # location and scale
    (None, 1, 2)
    """
    observation_space, action_space = spaces_of(env)
    check_ranges(action_space)
    inputs, x = _encoded(observation_space, encoder)
    x = _hidden(x, units, cell)
    options: dict[str, Any] = {"initial_scale": initial_scale, "noise_steps": noise_steps}
    action = heads(action_space, x, mask_of(inputs), state_dependent_scale=True, **options)
    return keras.Model(inputs, {"action": action})


def deterministic_actor(
    env: EnvOrSpaces,
    units: Sequence[int] = (256, 256),
    exploration_scale: float = 0.1,
    cell: str | keras.layers.Layer | None = None,
    encoder: keras.Model | None = None,
) -> keras.Model:
    """A policy with ReLU layers for actions with bounds, whose samples differ from its mode by noise: that of `krp.TD3`.

    Args:
        env: Anything that `fit` accepts, or a pair `(observation_space, action_space)` of Gymnasium spaces. All actions are
            continuous and bounded.
        units: Widths of the hidden layers.
        exploration_scale: Standard deviation of the noise, in units of half the range of an action; above 0.001.
        cell: As in `stochastic_actor`.
        encoder: As in `stochastic_actor`.

    Returns:
        A Functional `keras.Model` from an observation `[B, ...]` to `{"action": ...}`. Environments clip the samples to the
        bounds.

    Raises:
        ValueError: An action is not continuous, or has no bounds or equal ones.

    Example:
    >>> krp.networks.deterministic_actor("tf/Pendulum-v1", (32,)).output["action"].shape  # location and scale
    (None, 1, 2)
    """
    observation_space, action_space = spaces_of(env)
    check_bounded(action_space)
    inputs, x = _encoded(observation_space, encoder)
    x = _hidden(x, units, cell)

    def head(leaf):
        bounds = np.stack([leaf.low, leaf.high], -1).tolist()
        return DenseNormal(leaf.shape, bounds, initial_scale=exploration_scale)(x)

    return keras.Model(inputs, {"action": spaces.map_structure(head, action_space)})


def critic(
    env: EnvOrSpaces,
    units: Sequence[int] = (256, 256),
    count: int = 2,
    cell: str | keras.layers.Layer | None = None,
    encoder: keras.Model | None = None,
) -> keras.Model:
    """Several critics with ReLU layers, all of them in one matrix product per layer.

    Args:
        env: Anything that `fit` accepts, or a pair `(observation_space, action_space)` of Gymnasium spaces.
        units: Widths of the hidden layers.
        count: Number of critics `n`. They have separate weights, behind the encoder and the memory, which they share.
        cell: As in `stochastic_actor`. The action joins what the memory has made of the observations.
        encoder: As in `stochastic_actor`: the same model as there.

    Returns:
        A Functional `keras.Model` from `{"observation": ..., "action": ...}`, nests `[B, ...]`, to the values of the action
        `[B, n]`. It scales actions with bounds to the range from -1 to 1. With discrete parts, Discrete or MultiDiscrete,
        `"action"` has only the others (there is no such input if there are none), and the output is the value of each
        combination of the discrete parts, `[B, n, combinations]`; see `keras_rl_prob.distributions.ActionParts`.

    Raises:
        ValueError: An action has parts of another kind, or more than 1,000 combinations of discrete parts, or a continuous part
            that can have only one value.

    Example:
    >>> krp.networks.critic("tf/Pendulum-v1", (32,), count=5).output.shape, krp.networks.critic("tf/CartPole-v1").output.shape
    ((None, 5), (None, 2, 2))
    """
    observation_space, action_space = spaces_of(env)
    parts = ActionParts(action_space)
    check_ranges(action_space)
    widths, count = checks.widths("units", units), checks.integer("count", count)
    observation, x = _encoded(observation_space, encoder, "observation")
    if cell is not None:
        x, widths = _hidden(x, widths[:1], cell), widths[1:]
    inputs = {"observation": observation}
    if parts.continuous_space is not None:
        inputs["action"], actions = _actions(parts.continuous_space)
        x = layers.Concatenate()([x, *actions])
    equation = "bi,nio->bno"
    for index, width in enumerate((*widths, parts.count)):
        limit = (6.0 / (x.shape[-1] + width)) ** 0.5  # Glorot's, of each critic by itself
        x = layers.EinsumDense(
            equation,
            (count, width),
            activation="relu" if index < len(widths) else None,
            bias_axes="no",
            kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
        )(x)
        equation = "bni,nio->bno"
    return keras.Model(inputs, x if parts.discrete else layers.Reshape((count,))(x))


def shared_encoder(observation_space: gymnasium.Space) -> keras.Model:
    """What default networks of actor-critics with a replay buffer make of images before policy and critics part.

    A model of this name in the networks of an agent is a single one: gradients of the critics change it, those of the policy do
    not, as they would spoil what the critics need.

    Args:
        observation_space: A Gymnasium space.

    Returns:
        A Functional `keras.Model` with the name `"encoder"` from an observation `[B, ...]` to features `[B, F]`: the
        convolutions of `krp.networks.nature_cnn`, other components as they are.

    References:
        Yarats et al., "Improving sample efficiency in model-free reinforcement learning from images", 2019,
        https://arxiv.org/abs/1910.01741, section 5; DrQ: Kostrikov et al., 2020, https://arxiv.org/abs/2004.13649.

    Example:
    >>> spaces = gym_spaces.Box(0, 255, (64, 64, 3), np.uint8), gym_spaces.Box(-1.0, 1.0, (2,))
    >>> encoder = krp.networks.shared_encoder(spaces[0])
    >>> actor, critic = krp.networks.stochastic_actor(spaces, encoder=encoder), krp.networks.critic(spaces, encoder=encoder)
    >>> actor.get_layer("encoder") is critic.get_layer("encoder")
    True
    """
    return keras.Model(*features_of(observation_space), name="encoder")


def _encoded(observation_space, encoder, prefix=None):
    """Inputs and features for an observation, by an encoder or, unless there are images, by none."""
    if encoder is None and not any(map(is_image, spaces.leaves(observation_space))):
        return features_of(observation_space, prefix)
    encoder = encoder or shared_encoder(observation_space)

    def like(x):
        name = x.name if prefix in (None, x.name) else f"{prefix}.{x.name}"
        return keras.Input(x.shape[1:], dtype=x.dtype, name=name)

    inputs = keras.tree.map_structure(like, encoder.input)
    return inputs, encoder(inputs)


def check_ranges(action_space: gymnasium.Space) -> None:
    """Raises a `ValueError` if a continuous component of an action can have only one value."""
    for leaf in spaces.leaves(action_space):
        if isinstance(leaf, gym_spaces.Box) and not np.all(leaf.low < leaf.high):
            raise ValueError(
                "`env` must have continuous actions with every low bound below its high one: leave out what has one value "
                f"only, with `gymnasium.wrappers.TransformAction`. Received: {leaf} in action_space={action_space}"
            )


def check_continuous(action_space: gymnasium.Space) -> None:
    """Raises a `ValueError` unless all components of an action are continuous."""
    for leaf in spaces.leaves(action_space):
        if not isinstance(leaf, gym_spaces.Box):
            raise ValueError(
                "`env` must have continuous actions, Box spaces. `krp.PPO` takes any action, `krp.DQN` discrete ones. "
                f"Received: action_space={action_space}"
            )


def check_bounded(action_space: gymnasium.Space) -> None:
    """Raises a `ValueError` unless all components of an action are continuous and have bounds, low ones below high ones."""
    check_continuous(action_space)
    check_ranges(action_space)
    for leaf in spaces.leaves(action_space):
        if not spaces.bounded(leaf).all():
            raise ValueError(
                "`env` must have actions with finite bounds, to which noise is scaled: wrap it in "
                "`gymnasium.wrappers.TransformAction` with a space that has some, or use `krp.SAC`. "
                f"Received: action_space={action_space}"
            )


def _hidden(x, units, cell):
    """ReLU layers, with a memory behind the first one if there is a cell."""
    for index, width in enumerate(checks.widths("units", units, least=0 if cell is None else 1)):
        x = layers.Dense(width, "relu")(x)
        if cell is not None and not index:
            x = StatefulRNN(cell_of(cell, width))(x)
    return x


def _actions(action_space):
    """Inputs for continuous actions, and their numbers `[B, F]`, those that have bounds between -1 and 1.

    All are float32, also for integers and half precision: gradients of the values go through them, and bounds may be narrow.
    """
    names = [f"action.{name}" if name else "action" for name in spaces.graph_names(action_space, ".")]
    inputs, numbers = [], []
    for name, leaf in zip(names, spaces.leaves(action_space), strict=True):
        low, high, bounded = leaf.low.astype(np.float64), leaf.high.astype(np.float64), spaces.bounded(leaf)
        half = np.where(bounded, 0.5 * (high - low), 1.0)
        middle = np.where(bounded, low + half, 0.0)
        inputs.append(keras.Input(leaf.shape, dtype="float32", name=name))
        x = layers.Rescaling((1.0 / half).tolist(), (-middle / half).tolist(), dtype="float32")(inputs[-1])
        numbers.append(x if len(leaf.shape) == 1 else layers.Reshape((math.prod(leaf.shape),))(x))
    return keras.tree.pack_sequence_as(spaces.tensor_specs(action_space), inputs), numbers
