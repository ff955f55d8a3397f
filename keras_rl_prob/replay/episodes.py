"""Recorded episodes as rows of a replay buffer."""

from collections.abc import Iterable
from typing import Any

import gymnasium
import numpy as np
import tensorflow as tf

from keras_rl_prob import border, masks, spaces
from keras_rl_prob.types import Nest


def episode_rows(
    episodes: Iterable[Any], observation_space: gymnasium.Space, action_space: gymnasium.Space
) -> dict[str, Nest]:
    """Converts recorded episodes to rows of a replay buffer, one episode after the other.

    Args:
        episodes: Iterable of `keras_rl_prob.trajectory.Episode`s, or of objects or dicts with its fields.
        observation_space: Gymnasium space.
        action_space: Gymnasium space.

    Returns:
        Dict of nests of arrays `[N, ...]`; the final observation of an episode is a row that is not `"valid"`.

    Raises:
        ValueError: The arrays of an episode do not match each other or the spaces, or an action is forbidden by the mask in the
            observation.
    """
    observations, actions = border.Codec(observation_space), border.Codec(action_space)
    parts = []
    for number, episode in enumerate(episodes):
        get = episode.get if isinstance(episode, dict) else lambda name, e=episode: getattr(e, name)
        _check_fits(f"The observation in episode {number}", observation_space, get("observations"))
        _check_fits(f"The action in episode {number}", action_space, get("actions"))
        seen, done = observations.encode(get("observations")), actions.encode(get("actions"))
        rewards = _checked_rewards(number, get("rewards"))
        terminations, truncations = (np.asarray(get(name), bool) for name in ("terminations", "truncations"))
        steps = len(rewards)
        lengths = [len(terminations), len(truncations), *map(len, done), *(len(x) - 1 for x in seen)]
        if not steps or any(length != steps for length in lengths):
            raise ValueError(
                "An episode must have as many actions, terminations and truncations as rewards, and one observation more. "
                f"Received: episode {number} with {steps} rewards and, for the others, {lengths} steps"
            )
        check_range(f"The observation in episode {number}", observation_space, seen)
        check_range(f"The action in episode {number}", action_space, done)
        _check_legal(number, seen, done, masks.places(observation_space, action_space))

        def with_final(x):
            return np.concatenate([x, np.zeros_like(x[:1])])

        parts.append(
            {
                "observation": tf.nest.pack_sequence_as(spaces.tensor_specs(observation_space), seen),
                "action": tf.nest.pack_sequence_as(spaces.tensor_specs(action_space), list(map(with_final, done))),
                "reward": with_final(rewards),
                "terminated": with_final(terminations),
                "ended": with_final(terminations | truncations),
                "is_first": np.arange(steps + 1) == 0,
                "valid": np.arange(steps + 1) < steps,
            }
        )
    if not parts:
        raise ValueError("`episodes` must have at least one episode. Received: none")
    return tf.nest.map_structure(lambda *x: np.concatenate(x), *parts)


def checked_episodes(episodes: Any) -> list[Any]:
    """Returns a list of recorded episodes.

    Args:
        episodes: Iterable of episodes; or a data set of Minari, or its name, such as `"mujoco/hopper/expert-v0"`, for one that
            is on this machine.

    Raises:
        TypeError: Anything else.
        ImportError: A name was given and Minari is not installed.
    """
    if isinstance(episodes, str):
        episodes = _minari().load_dataset(episodes)
    if callable(getattr(episodes, "iterate_episodes", None)):
        episodes = episodes.iterate_episodes()
    listed = list(episodes) if np.iterable(episodes) and not isinstance(episodes, dict) else [episodes]
    for episode in listed:
        if not (isinstance(episode, dict) or hasattr(episode, "rewards")):
            raise TypeError(
                f"`episodes` must be a list of episodes, as from `krp.envs.record_episodes`. Received: {episode!r}"
            )
    return listed


def check_range(what: str, space: gymnasium.Space, arrays: Iterable[np.ndarray]) -> None:
    """Raises a `ValueError` if numbers are not finite, or are classes that the space does not have.

    Args:
        what: The subject of the sentence, such as "The action".
        space: Gymnasium space.
        arrays: A batch of encoded values, see `keras_rl_prob.border.Codec`.
    """
    for leaf, x in zip(spaces.leaves(space), arrays, strict=True):
        if isinstance(leaf, gymnasium.spaces.Box):
            fits = np.isfinite(x)
        else:
            fits = (x >= 0) & (x < getattr(leaf, "nvec", 2 if leaf.shape else getattr(leaf, "n", 2)))
        if not np.all(fits):
            raise ValueError(f"{what} must be in {leaf}, and finite. Received (counted from 0): {x[~fits][0]}")


def _minari():
    try:
        import minari  # noqa: PLC0415 (optional dependency)
    except ImportError as error:
        raise ImportError('Data sets by name need Minari: pip install "keras_rl_prob[minari]"') from error
    return minari


def _checked_rewards(number, rewards):
    """The rewards of an episode, float32 `[steps]`; a `ValueError` if they are anything but finite numbers."""
    with np.errstate(over="ignore"):
        array = np.asarray(rewards, np.float32)
    if array.ndim != 1:
        raise ValueError(
            f"The rewards of an episode must be one number for each step. Received: an array of the shape {array.shape} in "
            f"episode {number}"
        )
    if not np.isfinite(array).all():
        step = int(np.argmin(np.isfinite(array)))
        raise ValueError(
            f"The rewards of an episode must be finite float32 numbers. Received: {rewards[step]} at step {step} of episode "
            f"{number}"
        )
    return array


def _check_fits(what, space, values):
    """Raises a `ValueError` if the values of an episode do not have the structure, the shape or the dtype of their space."""
    leaves = tf.nest.flatten(values)
    if not all(np.ndim(x) and len(x) for x in leaves):
        raise ValueError(f"{what} must be one for each step, and there must be a step. Received: {values!r}")
    found = border.misfit(space, tf.nest.map_structure(lambda x: np.asarray(x)[0], values), what=what)
    if found:
        raise ValueError(f"{found}. Give the agent recordings of its own environment")


def _check_legal(number, observations, actions, places):
    """Raises a `ValueError` if a mask forbids an action of an episode: values of masked actions cannot be learned."""
    for place in places:
        chosen = actions[place.action]
        forbidden = masks.forbidden(place.leaf, observations[place.index][: len(chosen)], chosen)
        if forbidden.any():
            step = int(np.argmax(forbidden))
            raise ValueError(
                "An episode's actions must be allowed by the action masks in its observations. Received: episode "
                f"{number} with, at step {step}, {chosen[step]} (counted from 0) and the mask "
                f"{observations[place.index][step].tolist()}"
            )
