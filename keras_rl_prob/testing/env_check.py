"""`check_env`: checks everything in an environment that training relies on."""

import contextlib
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import env_checker

from keras_rl_prob import checks, masks, spaces
from keras_rl_prob.agents.vocabulary import reject_unknown
from keras_rl_prob.envs import make_one
from keras_rl_prob.testing.player import Player

# Warnings of Gymnasium's check that do not matter to this library.
NOISE = (
    "is different from the unwrapped version",
    "Not able to test alternative render modes",
    "A Box .* space m",
    "For Box",
)


def check_env(
    env: str | EnvSpec | gymnasium.Env | Callable[[], gymnasium.Env],
    episodes: int = 3,
    max_steps: int = 10_000,
    seed: int = 0,
    **unsupported: Any,
) -> None:
    """Plays random episodes and raises an error for the first thing that would be a problem in training.

    The checks: the spaces are supported; each observation has the structure, shape, dtype and bounds of its space, and is not
    overwritten by the next step; rewards are finite numbers, `terminated` and `truncated` are bools; action masks fit the
    action space and allow an action; episodes end; the same seed and actions give the same episode; and
    `gymnasium.utils.env_checker.check_env` passes, unless actions are masked, which it does not support.

    Two things may be intended and only give a `UserWarning`: different seeds give the same episode, and all
    episodes terminate after the same number of steps, which suggests a time limit, which should truncate instead.

    Args:
        env: A `gymnasium.Env`, which stays open; or its id, a `krp.envs.spec`, or a callable that makes an environment.
        episodes: Number of random episodes to play.
        max_steps: Number of steps after which an episode must have ended.
        seed: Integer of at least 0; seed of the first episode, the others have the following integers.
        **unsupported: None; other arguments raise a `TypeError`.

    Raises:
        TypeError: `env` is not a single environment, or an argument is unknown.
        ValueError: A check fails; the message says what is wrong, at which step, and how to fix it. Exceptions of the
            environment are raised unchanged, with a note that says when.

    Example:
    >>> check_env("CartPole-v1")
    """
    reject_unknown(check_env, unsupported)
    episodes, max_steps = checks.integer("episodes", episodes), checks.integer("max_steps", max_steps)
    seed = checks.seed("seed", seed, least=0)
    with _opened(env) as made:
        _check_spaces(made)
        _check_reset(made)
        player = Player(made, max_steps)
        played = [player.play(number, seed + number - 1) for number in range(1, episodes + 1)]
        _check_time_limit(made, played)
        _check_seeds(made, player, played[0], seed)
        if not player.is_masked:
            _check_with_gymnasium(made)


@contextlib.contextmanager
def _opened(env):
    if isinstance(env, gymnasium.Env):
        yield env
        return
    if isinstance(env, EnvSpec) or (isinstance(env, str) and not env.startswith("tf/")):
        made = make_one(env)
    elif callable(env):
        made = env()
    else:
        made = env
    if not isinstance(made, gymnasium.Env):
        raise TypeError(
            "`env` must be a single environment of Gymnasium: a `gymnasium.Env`, an id, a `krp.envs.spec` or a callable that "
            f"makes one. Received: env={env!r}{'' if made is env else f', which made {made!r}'}"
        )
    with contextlib.closing(made):
        if callable(env):
            second = env()
            if second is made:
                raise ValueError(
                    "`env` as a callable must make a new environment at each call, since `fit` steps several side by side. "
                    f"Received: env={env!r}, which returned {made} twice"
                )
            second.close()
        yield made


def _check_spaces(env):
    for name in ("observation_space", "action_space"):
        space = getattr(env, name, None)
        if not isinstance(space, gymnasium.Space):
            raise ValueError(
                f"`{name}` must be a space of Gymnasium; set it in the class or in `__init__`. Received: {name}={space!r}"
            )
        spaces.check_supported(space, name)
    observation_space = env.observation_space
    if isinstance(observation_space, gymnasium.spaces.Dict) and masks.KEY in observation_space.spaces:
        masks.align(env.action_space, spaces.map_structure(lambda leaf: leaf, observation_space[masks.KEY]))


def _check_reset(env):
    for reset in (env.reset, env.unwrapped.reset):
        try:
            inspect.signature(reset).bind(seed=0, options=None)
        except TypeError as error:
            raise ValueError(
                f"`reset` must take a seed and options: `def reset(self, *, seed=None, options=None)`. Received: {error}"
            ) from error


def _check_time_limit(env, episodes):
    limit, layer = None, env
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, gymnasium.wrappers.TimeLimit):
            limit = layer._max_episode_steps
        layer = layer.env
    for episode in episodes:
        if episode.length == limit and not episode.truncated:
            raise ValueError(
                f"Episodes that end by the time limit of {limit} steps must be truncated, so that the value of the final state "
                f"counts; wrappers around `TimeLimit` must pass `truncated` on. Received: terminated at "
                f"step {limit} of episode {episode.number}"
            )
    lengths = {episode.length for episode in episodes}
    if (
        len(episodes) > 2
        and len(lengths) == 1
        and lengths != {1}
        and not any(episode.truncated for episode in episodes)
    ):
        _hint(
            f"All {len(episodes)} episodes terminated after {lengths.pop()} steps. If that is a time limit, return it as "
            "`truncated` or use `max_episode_steps`; if it is part of the task, show the remaining steps in the observation."
        )


def _check_seeds(env, player, episode, seed):
    if env.spec is not None and env.spec.nondeterministic:
        return
    difference = player.difference(episode, seed)
    if difference:
        raise ValueError(
            "The same seed and actions must give the same episode. Take all random numbers from `self.np_random`, "
            f"which `super().reset(seed=seed)` sets, and reset everything that `step` changes. Received: {difference} "
            f"when episode {episode.number} was played again with seed {seed}"
        )
    if not player.is_masked and player.difference(episode, seed + 1) is None:
        _hint(
            f"The seeds {seed} and {seed + 1} give the same episode for the same actions. If anything should be random, take "
            "it from `self.np_random`."
        )


def _check_with_gymnasium(env):
    with warnings.catch_warnings():
        for message in NOISE:
            warnings.filterwarnings("ignore", f".*{message}")
        try:
            env_checker.check_env(_PlainEnds(env), skip_render_check=True, skip_close_check=True)
        except (AssertionError, gymnasium.error.Error) as error:
            raise ValueError(f"Gymnasium's own check of the environment fails. Received: {error}") from error


class _PlainEnds(gymnasium.Wrapper):
    """Converts ends to Python's bools: Gymnasium's check treats NumPy's as a truncation."""

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, bool(terminated), bool(truncated), info


def _hint(message):
    warnings.warn(message, UserWarning, stacklevel=4)
