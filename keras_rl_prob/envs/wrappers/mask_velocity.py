"""`MaskVelocity`: hides velocities, so that tasks need memory."""

from collections.abc import Sequence

import gymnasium
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from keras_rl_prob.envs.wrappers.arguments import checked_env

# Unwrapped class -> factors of the observation: 0 hides a velocity.
VELOCITY_MASKS = {
    "AcrobotEnv": (1.0, 1.0, 1.0, 1.0, 0.0, 0.0),
    "CartPoleEnv": (1.0, 0.0, 1.0, 0.0),
    "Continuous_MountainCarEnv": (1.0, 0.0),
    "MountainCarEnv": (1.0, 0.0),
    "PendulumEnv": (1.0, 1.0, 0.0),
}


class MaskVelocity(gymnasium.ObservationWrapper, RecordConstructorArgs):
    """Replaces velocities with 0, so that acting well needs memory; shape and space are not changed.

    Args:
        env: An environment with one-dimensional `Box` observations.
        mask: Sequence of 0 and 1, one per component of the observation; default: the mask of the five classic-control
            environments (`VELOCITY_MASKS`), found by the class of `env.unwrapped`.

    Raises:
        ValueError: If there is no mask for the environment or the mask does not fit its observations.

    Example:
    >>> env = MaskVelocity(gymnasium.make("Pendulum-v1"))
    >>> observation, _ = env.reset(seed=0)
    >>> bool(observation[2] == 0.0)
    True
    """

    def __init__(self, env: gymnasium.Env, mask: Sequence[float] | None = None) -> None:
        RecordConstructorArgs.__init__(self, mask=mask)
        gymnasium.ObservationWrapper.__init__(self, checked_env(env))
        switches = np.array(_find_mask(env) if mask is None else mask, object)
        if switches.shape != env.observation_space.shape or not np.isin(switches, (0, 1)).all():
            raise ValueError(
                "`mask` must hold a 0 or a 1 for every component of the observation. "
                f"Received: mask={switches.tolist()}, env.observation_space={env.observation_space}"
            )
        self.mask = switches.astype(env.observation_space.dtype)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Returns the observation with 0 where the mask is 0."""
        return np.where(self.mask, observation, self.mask)


def _find_mask(env):
    for base in type(env.unwrapped).__mro__:
        if base.__name__ in VELOCITY_MASKS:
            return VELOCITY_MASKS[base.__name__]
    raise ValueError(
        f"`env` must be one of {sorted(VELOCITY_MASKS)} when no `mask` is given; for any other environment say which "
        f"components to keep, as in `MaskVelocity(env, mask=[1, 0])`. Received: env={env}"
    )
