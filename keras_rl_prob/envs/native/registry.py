"""Native environments by id."""

import difflib
from collections.abc import Callable
from typing import Any

from keras_rl_prob.envs.native.acrobot import Acrobot
from keras_rl_prob.envs.native.cartpole import CartPole
from keras_rl_prob.envs.native.mountain_car import MountainCar
from keras_rl_prob.envs.native.mountain_car_continuous import MountainCarContinuous
from keras_rl_prob.envs.native.native_env import NativeEnv
from keras_rl_prob.envs.native.no_velocity import (
    AcrobotNoVel,
    CartPoleNoVel,
    MountainCarContinuousNoVel,
    MountainCarNoVel,
    PendulumNoVel,
)
from keras_rl_prob.envs.native.pendulum import Pendulum
from keras_rl_prob.envs.native.recall import Recall

_CLASSES: dict[str, Callable[..., NativeEnv]] = {
    "tf/Acrobot-v1": Acrobot,
    "tf/AcrobotNoVel-v1": AcrobotNoVel,
    "tf/CartPole-v1": CartPole,
    "tf/CartPoleNoVel-v1": CartPoleNoVel,
    "tf/MountainCar-v0": MountainCar,
    "tf/MountainCarContinuous-v0": MountainCarContinuous,
    "tf/MountainCarContinuousNoVel-v0": MountainCarContinuousNoVel,
    "tf/MountainCarNoVel-v0": MountainCarNoVel,
    "tf/Pendulum-v1": Pendulum,
    "tf/PendulumNoVel-v1": PendulumNoVel,
    "tf/Recall-v0": Recall,
}


def native_ids() -> list[str]:
    """Returns the ids that `make_native` knows, a sorted list of strings."""
    return sorted(_CLASSES)


def make_native(id: str, num_envs: int, **kwargs: Any) -> NativeEnv:
    """Makes a native environment.

    Args:
        id: One of `native_ids()`.
        num_envs: Number of copies.
        **kwargs: Further constructor arguments, such as `max_episode_steps`.

    Returns:
        A `NativeEnv`.

    Raises:
        ValueError: If `id` is unknown.

    Example:
    >>> make_native("tf/CartPole-v1", num_envs=32).max_episode_steps
    500
    """
    if not isinstance(id, str) or id not in _CLASSES:
        near = difflib.get_close_matches(str(id), native_ids())
        hint = f"Did you mean {' or '.join(repr(name) for name in near)}? " if near else ""
        raise ValueError(f"`id` must be one of {native_ids()}. {hint}Received: id={id!r}")
    return _CLASSES[id](num_envs, **kwargs)
