"""Heads for any action space: from features to the parameters of a distribution over actions."""

from typing import Any

import gymnasium
import keras
import numpy as np
from gymnasium import spaces as gym_spaces

from keras_rl_prob import checks, masks, spaces
from keras_rl_prob.layers import DenseBernoulli, DenseCategorical, DenseGSDE, DenseNormal
from keras_rl_prob.networks.encoder import check_classes
from keras_rl_prob.types import Nest


def heads(
    action_space: gymnasium.Space,
    x: keras.KerasTensor,
    mask: Nest = None,
    state_dependent_scale: bool = False,
    initial_scale: float | None = None,
    gain: float = 0.01,
    noise_steps: int | None = None,
) -> Nest:
    """Creates a head for every component of an action space and returns their outputs.

    Bounded Box components get a normal distribution squashed into the bounds, unbounded ones a plain normal distribution.

    Args:
        action_space: A Gymnasium space.
        x: Features `[B, F]`.
        mask: `None`, or a nest of tensors that are nonzero where an entry may be chosen: `[B, n]` for `Discrete(n)`,
            `[B, *shape, n]` for a MultiDiscrete of at most n classes, `[B, *shape]` for MultiBinary. In a Dict the masks
            have the keys of the action space, in a Tuple the positions, as in `{"1": mask}`. A Box has no mask; other
            components may lack one.
        state_dependent_scale: Whether the scale of a normal distribution depends on the features or is a learned vector.
        initial_scale: Scale of normal distributions before training, as in `DenseNormal`, or `None` for its default.
        gain: Gain of the kernels' orthogonal initialisation: near 0, the first policy hardly depends on the features.
        noise_steps: `None` for noise that is new in each step; a number for the state-dependent noise of `DenseGSDE` in Box
            components, kept for so many steps. Its scale depends on the state whatever `state_dependent_scale`.

    Returns:
        A nest of parameter tensors with the structure of the space.

    Raises:
        ValueError: The mask does not fit the action space, or there is an `initial_scale` or `noise_steps` but no Box to act
            in.
    """
    parts = iter(masks.align(action_space, mask, leading=1))
    options: dict[str, Any] = {"state_dependent_scale": checks.flag("state_dependent_scale", state_dependent_scale)}
    if noise_steps is not None:
        options = {"noise_steps": noise_steps}
    if initial_scale is not None:
        options["initial_scale"] = initial_scale
    for name, value in (("initial_scale", initial_scale), ("noise_steps", noise_steps)):
        if value is not None and not any(isinstance(leaf, gym_spaces.Box) for leaf in spaces.leaves(action_space)):
            raise ValueError(
                f"`{name}` must be `None` unless an action is a Box, whose distribution has a scale. "
                f"Received: {name}={value!r} for {action_space}"
            )
    gain = checks.number("gain", gain)
    return spaces.map_structure(lambda leaf: apply(_head(leaf, gain, options), x, next(parts)), action_space)


def _head(leaf, gain, options):
    check_classes(leaf, "an action, wrap the environment so that it has fewer or several smaller ones")
    start = keras.initializers.Orthogonal(gain)  # a new one for each head: its seed is drawn when it is made
    if isinstance(leaf, gym_spaces.Discrete):
        return DenseCategorical((int(leaf.n),), kernel_initializer=start)
    if isinstance(leaf, gym_spaces.MultiDiscrete):
        return DenseCategorical(
            (*leaf.shape, int(leaf.nvec.max())), num_classes=leaf.nvec.tolist(), kernel_initializer=start
        )
    if isinstance(leaf, gym_spaces.MultiBinary):
        return DenseBernoulli(leaf.shape, kernel_initializer=start)
    made = DenseGSDE if "noise_steps" in options else DenseNormal
    if not spaces.bounded(leaf).all():
        return made(leaf.shape, kernel_initializer=start, **options)
    bounds = np.stack([leaf.low, leaf.high], -1).astype(np.float32)
    return made(leaf.shape, bounds=bounds.tolist(), hard_bounds=True, kernel_initializer=start, **options)


def apply(head: keras.layers.Layer, x: keras.KerasTensor, mask: Nest) -> keras.KerasTensor:
    """The output of a head for features and a mask, which may be `None`."""
    return head(x if mask is None else [x, mask])


def check_discrete(action_space: gymnasium.Space) -> int:
    """Returns the number of actions; raises a `ValueError` unless the space is Discrete."""
    if not isinstance(action_space, gym_spaces.Discrete):
        raise ValueError(
            "`env` must have a Discrete action space, since the values of all actions are compared. Use `krp.PPO` or "
            "`krp.A2C`, "
            f"which take any. Received: action_space={action_space}"
        )
    return int(action_space.n)
