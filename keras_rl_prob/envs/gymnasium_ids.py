"""Gymnasium environments by id: with settings, single or vectorised; imports the libraries that register them."""

import copy
import fnmatch
import importlib
import os
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from keras_rl_prob import checks
from keras_rl_prob.envs.games import atari
from keras_rl_prob.envs.processes.separate import SeparateEnv
from keras_rl_prob.envs.single import SingleEnv

# Pattern of ids -> the module that registers them, and the extra that installs it.
PLUGINS = {
    "ALE/*": ("ale_py", "atari"),
    "Vizdoom*": ("vizdoom.gymnasium_wrapper", "vizdoom"),
    "*BulletEnv-v0": ("pybullet_envs_gymnasium", "bullet"),
}
# Module of an environment -> the extra that installs what it needs.
EXTRAS = {"gymnasium.envs.box2d": "box2d", "gymnasium.envs.mujoco": "mujoco", "gymnasium.envs.classic_control": "video"}


def spec(env_id: str | EnvSpec, **kwargs: Any) -> EnvSpec:
    """An environment id with settings, which can be used wherever an id can.

    Args:
        env_id: Id of a Gymnasium environment, or an `EnvSpec`.
        **kwargs: Arguments of its constructor, and `max_episode_steps`. For Atari (`ALE/...`) these are arguments of ALE's
            vector environment: `stack_num`, `frameskip`, `episodic_life`, `reward_clipping`, `repeat_action_probability`,
            `noop_max`, `use_fire_reset` and so on; and `fire_after_life`, for whole games of an agent that has learned from
            single lives: it takes FIRE after each lost life, which serves the ball in Breakout.

    Returns:
        A new `gymnasium.envs.registration.EnvSpec`.

    Raises:
        ValueError: The id is unknown.
        ImportError: The library that registers it is not installed.

    Example:
    >>> spec("Pendulum-v1", g=9.81, max_episode_steps=100).kwargs
    {'g': 9.81}
    """
    made = copy.deepcopy(env_id if isinstance(env_id, EnvSpec) else _registered(env_id))
    if "max_episode_steps" in kwargs:
        steps = kwargs.pop("max_episode_steps")
        made.max_episode_steps = checks.integer("max_episode_steps", steps, none=True)
    made.kwargs.update(kwargs)
    return made


def make_one(env: str | EnvSpec, **kwargs: Any) -> gymnasium.Env:
    """A single `gymnasium.Env` with the spaces of `make_many`, for example for rendering.

    MuJoCo renders in a separate process, see `SeparateEnv`.

    Args:
        env: Id of a Gymnasium environment, or an `EnvSpec`.
        **kwargs: More settings, such as `render_mode="rgb_array"`.
    """
    wanted = spec(env, **kwargs)
    if wanted.id.startswith("ALE/"):
        return _made(atari.make_one, wanted)
    drawn_by_mujoco = str(wanted.entry_point).startswith("gymnasium.envs.mujoco") and "render_mode" in wanted.kwargs
    return _made(SeparateEnv if drawn_by_mujoco and os.name == "posix" else gymnasium.make, wanted)


def make_many(env: str | EnvSpec, count: int) -> gymnasium.vector.VectorEnv:
    """A `gymnasium.vector.VectorEnv` of `count` environments, several in their own vector implementation if there is one.

    Args:
        env: Id of a Gymnasium environment, or an `EnvSpec`.
        count: Number of environments.
    """
    wanted = spec(env)
    if wanted.id.startswith("ALE/"):
        return _made(atari.make_many, wanted, num_envs=count)
    # A vector implementation is made for many: CartPole's takes three times as long for one as the environment itself.
    own = "vectorization_mode" in wanted.kwargs or (wanted.vector_entry_point and count > 1)
    single = {} if own else {"vectorization_mode": "sync", "wrappers": [SingleEnv]}
    made = _made(gymnasium.make_vec, wanted, num_envs=count, **single)
    if single:
        for index, one in enumerate(made.envs):
            one.index = index
    return made


def _registered(env_id):
    if not isinstance(env_id, str):
        raise TypeError(f"`env` must be the id of an environment or an EnvSpec. Received: env={env_id!r}")
    for pattern, (module, extra) in PLUGINS.items():
        if fnmatch.fnmatchcase(env_id, pattern):
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise ImportError(f'`{env_id}` needs pip install "keras_rl_prob[{extra}]". {error}') from None
    module, _, name = env_id.rpartition(":")
    if module:  # as in Gymnasium, "module:id" imports the module that registers the id
        importlib.import_module(module)
    try:
        return gymnasium.spec(name)
    except gymnasium.error.Error as error:
        raise ValueError(
            f"`env` must be an environment id that Gymnasium knows, or one of the native ids that start with 'tf/'. "
            f"Received: env={env_id!r}. {error}"
        ) from error


def _made(maker, wanted, **kwargs):
    try:
        return maker(wanted, **kwargs)
    except gymnasium.error.DependencyNotInstalled as error:
        extras = [extra for module, extra in EXTRAS.items() if str(wanted.entry_point).startswith(module)]
        hint = f'pip install "keras_rl_prob[{extras[0]}]". ' if extras else ""
        raise ImportError(f"`{wanted.id}` needs something that is not installed: {hint}{error}") from error
    except OSError as error:  # for example a missing ROM
        raise OSError(f"`{wanted.id}` could not be made: {error}") from error
