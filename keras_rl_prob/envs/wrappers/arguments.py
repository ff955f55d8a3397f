"""Checks of the wrappers' arguments."""

from typing import Any

import gymnasium
import numpy as np

_ARRAYS = (gymnasium.spaces.Box, gymnasium.spaces.MultiBinary, gymnasium.spaces.MultiDiscrete)


def checked_env(env: Any) -> gymnasium.Env:
    """Returns `env`; raises a `TypeError` unless it is a single environment."""
    if not isinstance(env, gymnasium.Env):
        raise TypeError(f"`env` must be a `gymnasium.Env`, as from `gymnasium.make`. Received: env={env!r}")
    return env


def check_box(env: gymnasium.Env) -> None:
    """Raises a `ValueError` unless the observations of `env` are a Box."""
    if not isinstance(env.observation_space, gymnasium.spaces.Box):
        raise ValueError(
            f"`env` must have Box observations. Received: env={env} with observation_space={env.observation_space}"
        )


def checked_action(env: gymnasium.Env, name: str, action: Any) -> Any:
    """An action as `env` takes it; sequences of numbers become arrays.

    Args:
        env: The environment.
        name: Name of the argument in the message, such as `"noop"`.
        action: The value that the user passed.

    Raises:
        ValueError: It is not in the action space.
    """
    space, value = env.action_space, action
    if isinstance(action, bool):
        value = None
    elif isinstance(space, _ARRAYS):
        try:
            value = np.asarray(action).astype(space.dtype, casting="same_kind")
        except (TypeError, ValueError):
            value = None
    if value is None or not space.contains(value):
        raise ValueError(f"`{name}` must be in the action space {space}. Received: {name}={action!r}")
    return value


def action_index(env: gymnasium.Env, meaning: str, example: str) -> int:
    """The index of an action by its name in `env`, as in Atari games.

    Args:
        env: The environment.
        meaning: Name of the action in `env.unwrapped.get_action_meanings()`.
        example: Code for the message that passes the action explicitly.

    Raises:
        ValueError: There is no such action, or actions have no names.
    """
    names: list[str] = getattr(env.unwrapped, "get_action_meanings", list)()
    if meaning not in names:
        raise ValueError(
            f"`env` must have {meaning} among its `get_action_meanings()`; for any other environment say which action to "
            f"take, as in `{example}`. Received: env={env} with the action meanings {list(names)}"
        )
    return list(names).index(meaning)
