"""Default networks for the values of Discrete actions."""

from collections.abc import Sequence

import keras
from keras import layers

from keras_rl_prob import checks, masks
from keras_rl_prob.envs import spaces_of
from keras_rl_prob.envs.factory import EnvOrSpaces
from keras_rl_prob.layers import CategoricalQValues, Dueling, NoisyDense, QValues, StatefulRNN
from keras_rl_prob.layers.noisy_dense import noise_kind
from keras_rl_prob.networks.cells import cell_of
from keras_rl_prob.networks.encoder import encoder, mask_of
from keras_rl_prob.networks.heads import apply, check_discrete


def q_network(
    env: EnvOrSpaces,
    units: Sequence[int] = (128, 128),
    cell: str | keras.layers.Layer | None = None,
    dueling: bool = False,
    noisy: str | None = None,
    quantiles: int | None = None,
    atoms: int | None = None,
    value_bounds: Sequence[float] = (-10.0, 10.0),
) -> keras.Model:
    """A network of action values: relu layers, with memory if `cell` is given.

    Images go through the convolutions of `nature_cnn` first.

    Args:
        env: Anything that `fit` accepts, or a pair `(observation_space, action_space)`; its actions are Discrete.
        units: Widths of the hidden layers. With memory the last one is that of the recurrent layer, if `cell` is a name.
        cell: `None`, `"lstm"`, `"gru"`, `"simple"` or a Keras RNN cell.
        dueling: Whether value and advantages each have a hidden layer of the last width and are combined by `Dueling`.
        noisy: `"factorized"` or `"independent"` noise on the Dense layers (except those before the memory), or `None`.
        quantiles: Number of quantiles of the return of each action, whose mean is the action's value; `None` for values alone.
        atoms: Number of equally spaced values of the return of each action, whose probabilities the network gives; `None` for
            values alone.
        value_bounds: With `atoms`, the lowest and the highest of them.

    Returns:
        A Functional `keras.Model` from an observation `[B, ...]` to `{"action": [B, actions]}`, and with quantiles also
        `"quantiles"`, `[B, quantiles, actions]`, with atoms `"logits"`, `[B, atoms, actions]`.

    Raises:
        ValueError: The actions are not Discrete, or there are both quantiles and atoms.
    """
    observation_space, action_space = spaces_of(env)
    actions = check_discrete(action_space)
    noisy, dueling = noise_kind("noisy", noisy, none=True), checks.flag("dueling", dueling)

    def dense(width, activation=None):
        return layers.Dense(width, activation) if noisy is None else NoisyDense(width, activation, kind=noisy)

    inputs, x = encoder(observation_space)
    *widths, last = checks.widths("units", units, least=1)
    if cell is not None:
        for width in widths:
            x = layers.Dense(width, "relu")(x)
        x = StatefulRNN(cell_of(cell, last))(x)
        widths, last = [], last if dueling else 0
    for width in widths:
        x = dense(width, "relu")(x)
    (mask,) = masks.align(action_space, mask_of(inputs), leading=1)
    count = _count(quantiles, atoms)

    def output(width):
        layer = dense(width * (count or 1))
        return layer if count is None else lambda x: layers.Reshape((count, width))(layer(x))

    if dueling:
        parts = [output(width)(dense(last, "relu")(x)) for width in (1, actions)]
        legal = mask if mask is None or count is None else layers.Reshape((1, actions))(mask)
        values = Dueling()(parts if mask is None else [*parts, legal])
    else:
        values = output(actions)(x if not last else dense(last, "relu")(x))
    if count is None:
        return keras.Model(inputs, {"action": apply(QValues((actions,)), values, mask)})
    if atoms is not None:
        head = CategoricalQValues((actions,), value_bounds)
        return keras.Model(inputs, {"action": apply(head, values, mask), "logits": values})
    means = apply(QValues((actions,)), keras.ops.mean(values, axis=1), mask)
    return keras.Model(inputs, {"action": means, "quantiles": values})


def _count(quantiles, atoms):
    """Numbers for each action that describe the distribution of its return, or `None` if there is none."""
    quantiles, atoms = checks.integer("quantiles", quantiles, none=True), checks.integer("atoms", atoms, 2, none=True)
    if quantiles and atoms:
        raise ValueError(f"`quantiles` or `atoms` must be `None`. Received: quantiles={quantiles}, atoms={atoms}")
    return quantiles or atoms
