"""Environments that draw themselves, from everything that can be drawn."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from keras_rl_prob.envs.gymnasium_ids import make_one, spec

MODES = ("human", "rgb_array", "terminal", None)

Drawable: TypeAlias = str | EnvSpec | gymnasium.Env | Callable[[], gymnasium.Env]
"""What `drawn` accepts."""


@contextlib.contextmanager
def drawn(env: Drawable, render_mode: str | None) -> Iterator[gymnasium.Env]:
    """Context manager of a `gymnasium.Env` that draws itself; at the end it closes one that it made.

    Args:
        env: Id of an environment, a `krp.envs.spec`, a callable that makes an environment, or a `gymnasium.Env` that was made
            with the render mode. Native ids stand for Gymnasium's environment of the same physics.
        render_mode: One of `MODES`. `"terminal"` takes what the environment has of `"ansi"`, `"rgb_array"` and `None`.

    Raises:
        ValueError: `env` cannot be drawn, or has another render mode.
        RuntimeError: There is no display for a window.
    """
    if render_mode not in MODES:
        raise ValueError(f"`render_mode` must be one of {MODES}. Received: render_mode={render_mode!r}")
    if render_mode == "human" and not has_display():
        raise RuntimeError(
            'A window needs a display, and there is none here: `render_mode="terminal"` draws in a terminal, `"rgb_array"` '
            "returns frames, and `krp.callbacks.record_episode` writes a video. Received: DISPLAY is not set"
        )
    if isinstance(env, gymnasium.Env):
        yield _checked(env, env, render_mode)
        return
    made = env() if callable(env) and not isinstance(env, EnvSpec) else _made(drawn_id(env), render_mode)
    with contextlib.closing(made):
        yield _checked(made, env, render_mode)


def drawn_id(env: str | EnvSpec) -> str | EnvSpec:
    """The id, or id with settings, of the Gymnasium environment that draws `env`; a `ValueError` if there is none."""
    try:
        return gymnasium_id(env) if isinstance(env, str) and env.startswith("tf/") else spec(env)
    except (AttributeError, TypeError, ValueError, StopIteration) as error:
        raise ValueError(
            "`env` must be the id of an environment that Gymnasium can draw, or a callable that makes one with "
            f'`render_mode="rgb_array"`. Received: env={env!r}. {error}'.rstrip()
        ) from error


def gymnasium_id(native_id: str) -> str:
    """The id of the Gymnasium environment with the physics of a native one, by its name; `StopIteration` for none."""
    name = native_id.removeprefix("tf/")
    return next(known for known in (name, f"krp/{name}") if known in gymnasium.registry)


def frame(env: gymnasium.Env) -> np.ndarray:
    """What an environment with the render mode `"rgb_array"` shows now, uint8 `[height, width, 3]`."""
    pixels = np.asarray(env.render())
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(
            "`env.render()` must return uint8 arrays [height, width, 3]. "
            f"Received: shape={pixels.shape}, dtype={pixels.dtype}"
        )
    return pixels


def rate(env: gymnasium.Env) -> float:
    """The frames a second that an environment wants to be shown; 30 if it does not say."""
    return env.metadata.get("render_fps") or 30


def has_display() -> bool:
    """Whether somebody would see a window; without a display SDL opens one in memory."""
    places = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    return sys.platform != "linux" or any(map(os.environ.get, places))


def _made(env, mode):
    if mode == "terminal":
        with contextlib.closing(make_one(env)) as plain:
            known = plain.metadata.get("render_modes", ())
        mode = next((mode for mode in ("ansi", "rgb_array") if mode in known), None)
    return make_one(env) if mode is None else make_one(env, render_mode=mode)


def _checked(made, env, mode):
    got: Any = getattr(made, "render_mode", None)
    if not isinstance(made, gymnasium.Env) or (mode in ("human", "rgb_array") and got != mode):
        raise ValueError(
            f'`env` must make environments with `render_mode="{mode}"`. '
            f"Received: env={env!r}, which made {made} with render_mode={got!r}"
        )
    return made
