"""Atari games: many by ALE's vector environment, a single one, with the same observations, by Gymnasium's wrappers."""

import copy
import inspect
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.wrappers import AtariPreprocessing, ClipReward, FrameStackObservation

from keras_rl_prob.envs.wrappers import FireReset

GAME = ("full_action_space", "max_num_frames_per_episode", "repeat_action_probability")
SERVES = "fire_after_life"  # a setting of this module


def make_many(spec: EnvSpec, num_envs: int) -> VectorEnv:
    """ALE's vector environment.

    Args:
        spec: As in `make_one`.
        num_envs: Number of games.

    Raises:
        ValueError: `fire_after_life` is set for a game without FIRE, or `max_episode_steps` is.
    """
    _check_limit(spec)
    spec = copy.deepcopy(spec)
    serves = spec.kwargs.pop(SERVES, False)
    env: Any = gymnasium.make_vec(spec, num_envs)
    return FireAfterLives(env, _fire([action.name for action in env.ale.get_action_set()])) if serves else env


def make_one(spec: EnvSpec) -> gymnasium.Env:
    """A game with the observations, rewards and episodes of `gymnasium.make_vec(spec, 1)`.

    ALE's vector environment uses another random generator for no-ops and sticky actions; without these the two are identical.

    Args:
        spec: `EnvSpec` of an id that starts with `ALE/`. Its `kwargs` are arguments of ALE's vector environment, `render_mode`,
            and `fire_after_life`.

    Returns:
        A `gymnasium.Env`.

    Raises:
        ValueError: A setting is not available for a single game, `fire_after_life` is set for a game without FIRE, or
            `max_episode_steps` is.
    """
    _check_limit(spec)
    from ale_py.vector_env import AtariVectorEnv  # noqa: PLC0415

    defaults = {name: x.default for name, x in inspect.signature(AtariVectorEnv).parameters.items()}
    settings = defaults | {SERVES: False} | spec.kwargs
    single = {
        *GAME,
        "game",
        "render_mode",
        "frameskip",
        "noop_max",
        "episodic_life",
        "use_fire_reset",
        "reward_clipping",
    }
    serves = settings.pop(SERVES)
    changed = {name for name, value in settings.items() if name not in defaults or value != defaults[name]}
    unknown = changed - single - {"img_height", "img_width", "stack_num", "num_threads", "thread_affinity_offset"}
    if unknown:
        raise ValueError(f"A single {spec.id} cannot have {sorted(unknown)}. Received: {spec.kwargs}")
    game = {name: settings[name] for name in GAME}
    env: Any = gymnasium.make(spec.id, frameskip=1, render_mode=settings.get("render_mode"), **game)
    if settings["use_fire_reset"] and "FIRE" in env.unwrapped.get_action_meanings():
        env = FireReset(env, [env.unwrapped.get_action_meanings().index("FIRE")])
    env = AtariPreprocessing(
        env,
        noop_max=settings["noop_max"],
        frame_skip=settings["frameskip"],
        screen_size=(settings["img_width"], settings["img_height"]),
        terminal_on_life_loss=settings["episodic_life"],
    )
    if serves:
        env = FireAfterLife(env, _fire(env.unwrapped.get_action_meanings()))
    if settings["reward_clipping"]:
        env = ClipReward(env, -1.0, 1.0)
    return FrameStackObservation(env, settings["stack_num"], padding_type="zero")


def _check_limit(spec):
    if spec.max_episode_steps is not None:
        raise ValueError(
            f"{spec.id} takes `max_num_frames_per_episode`, emulator frames of a game, in place of `max_episode_steps`. "
            f"Received: max_episode_steps={spec.max_episode_steps}"
        )


class FireAfterLife(gymnasium.Wrapper):
    """Takes FIRE in place of the first action after each lost life, which serves the ball in Breakout.

    Gymnasium's `AtariPreprocessing` and ALE's `use_fire_reset` only serve after a reset. An agent for which a lost life ends an
    episode never learns to serve, and would wait for the rest of a whole game.

    Args:
        env: A game whose `info` has `"lives"`.
        fire: The action FIRE.
    """

    def __init__(self, env: gymnasium.Env, fire: int) -> None:
        super().__init__(env)
        self._fire, self._lives, self._serves = fire, 0, False

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Starts a game."""
        observation, info = super().reset(**kwargs)
        self._lives, self._serves = info["lives"], False
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Takes the action, or FIRE."""
        observation, reward, terminated, truncated, info = super().step(self._fire if self._serves else action)
        self._serves, self._lives = info["lives"] < self._lives, info["lives"]
        return observation, reward, terminated, truncated, info


class FireAfterLives(VectorWrapper):
    """`FireAfterLife` for ALE's vector environment."""

    def __init__(self, env: VectorEnv, fire: int) -> None:
        super().__init__(env)
        self._fire, self._lives, self._serve = fire, np.zeros(env.num_envs, int), np.zeros(env.num_envs, bool)

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Starts all games."""
        observation, info = super().reset(**kwargs)
        self._lives, self._serve = info["lives"], np.zeros(self.num_envs, bool)
        return observation, info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Takes the actions, or FIRE."""
        actions = np.where(self._serve, self._fire, actions)
        observation, reward, terminated, truncated, info = super().step(actions)
        self._serve, self._lives = info["lives"] < self._lives, info["lives"]
        return observation, reward, terminated, truncated, info


def _fire(names):
    """The action FIRE of a game with actions of these names."""
    if "FIRE" not in names:
        raise ValueError(
            f"`{SERVES}` must be False for a game without the action FIRE. Received: {SERVES}=True, {names}"
        )
    return names.index("FIRE")
