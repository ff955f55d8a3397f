"""`NormalizeRange`: maps observations to [-1, 1] by the bounds of their space."""

import gymnasium
import numpy as np
from gymnasium import spaces as gym_spaces
from gymnasium.utils import RecordConstructorArgs

from keras_rl_prob import spaces
from keras_rl_prob.envs.wrappers.arguments import checked_env
from keras_rl_prob.types import Nest

_LARGEST = np.finfo(np.float32).max  # as a bound it means that there is none


class NormalizeRange(gymnasium.ObservationWrapper, RecordConstructorArgs):
    """Maps every component of the observation that has two bounds to [-1, 1], and does not change the others.

    It computes `2 (x - low) / (high - low) - 1`, for a Box space or for those in a Dict or Tuple. Integers become float32,
    but bytes (uint8) stay bytes: the default networks divide them by 255. Components with only one bound or none, with bounds
    as large as the largest float32, or with two equal bounds, are not changed.

    Gymnasium's `RescaleObservation` does the same for a single Box of real numbers and needs both bounds as arguments if some
    are infinite. For components without bounds use running statistics, with `normalize_observations=True` of the agent. Bounded
    actions need no wrapper: agents respect the bounds.

    Args:
        env: The environment.

    Raises:
        ValueError: No component has two bounds.

    Example:
    >>> env = NormalizeRange(gymnasium.make("Pendulum-v1"))
    >>> env.observation_space  # the third component, a velocity, was between -8 and 8
    Box(-1.0, 1.0, (3,), float32)
    """

    def __init__(self, env: gymnasium.Env) -> None:
        RecordConstructorArgs.__init__(self)
        gymnasium.ObservationWrapper.__init__(self, checked_env(env))
        leaves = spaces.leaves(env.observation_space)
        if not any(_bounded(leaf).any() for leaf in leaves):
            raise ValueError(
                "`env` must have observations with a component that has two bounds and is not uint8; where there is none, use "
                f"`normalize_observations=True` of the agent. Received: env.observation_space={env.observation_space}"
            )
        self._mappings = [_mapping(leaf) for leaf in leaves]
        self.observation_space = _map_space(_normalized, env.observation_space)

    def observation(self, observation: Nest) -> Nest:
        """Returns the observation with its bounded components mapped to [-1, 1]."""
        mappings = iter(self._mappings)
        return spaces.map_values(lambda value: next(mappings)(value), self.env.observation_space, observation)


def _bounded(space):
    """Which components of a leaf are mapped, as an array of its shape."""
    if not isinstance(space, gym_spaces.Box) or space.dtype in (np.uint8, np.bool_):
        return np.zeros(space.shape or (), bool)
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    finite = space.bounded_below & space.bounded_above & (np.maximum(np.abs(low), np.abs(high)) < _LARGEST)
    return finite & (low < high)


def _mapping(space):
    """A function from a value of the leaf `space` to a value of `_normalized(space)`."""
    bounded = _bounded(space)
    if not bounded.any():
        return lambda value: value
    dtype = _normalized(space).dtype
    low = np.where(bounded, space.low, 0).astype(np.float64)
    width = np.where(bounded, space.high.astype(np.float64) - low, 1.0)
    return lambda value: np.where(bounded, 2.0 * (value - low) / width - 1.0, value).astype(dtype)


def _normalized(space):
    bounded = _bounded(space)
    if not bounded.any():
        return space
    dtype = space.dtype if np.issubdtype(space.dtype, np.floating) else np.dtype(np.float32)
    low = np.where(bounded, -1.0, np.where(space.bounded_below, space.low, -np.inf))
    high = np.where(bounded, 1.0, np.where(space.bounded_above, space.high, np.inf))
    return gym_spaces.Box(low.astype(dtype), high.astype(dtype), dtype=dtype)


def _map_space(function, space):
    """A space like `space` with `function` of its leaves."""
    if isinstance(space, gym_spaces.Dict):
        return gym_spaces.Dict({key: _map_space(function, child) for key, child in space.spaces.items()})
    if isinstance(space, gym_spaces.Tuple):
        return gym_spaces.Tuple([_map_space(function, child) for child in space.spaces])
    return function(space)
