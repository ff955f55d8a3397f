"""Recording of episodes, for agents that learn from the play of other policies."""

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import keras
import numpy as np
from gymnasium.envs.registration import EnvSpec

from keras_rl_prob import checks, masks, spaces
from keras_rl_prob.envs.gymnasium_ids import make_one
from keras_rl_prob.envs.playing.episodes import MAX_STEPS, Stop, rows
from keras_rl_prob.envs.playing.rendering import drawn_id
from keras_rl_prob.trajectory import Episode


def record_episodes(
    env: str | EnvSpec | gymnasium.Env | Callable[[], gymnasium.Env],
    policy: Callable[[Any], Any] | None = None,
    episodes: int = 1,
    seed: int | None = None,
    max_steps: int = MAX_STEPS,
) -> list[Episode]:
    """Plays episodes and records them.

    Args:
        env: A `gymnasium.Env`, which stays open; or an id, a `krp.envs.spec` or a callable that makes an environment. Native
            ids are played by Gymnasium's environment of the same physics.
        policy: Callable from an observation to an action: a bot, or `agent.policy()`, whose `reset` is called at the start of
            each episode, or a `Keyboard`, with which a person ends the recording before. `None` takes random actions,
            only allowed ones where the observation has an `"action_mask"`.
        episodes: Number of episodes.
        seed: Integer for the first reset and for random actions. By default those of the environment go on.
        max_steps: Number of steps after which an episode counts as truncated, with a warning.

    Returns:
        List of `keras_rl_prob.trajectory.Episode`s.

    Example:
    ```python
    bot = lambda observation: int(observation[2] > 0)
    agent.add_experience(krp.envs.record_episodes("CartPole-v1", bot, episodes=20))
    ```
    """
    episodes, seed = checks.integer("episodes", episodes), checks.seed("seed", seed, least=0, none=True)
    max_steps = checks.integer("max_steps", max_steps)
    if isinstance(policy, keras.Model):
        raise TypeError("`policy` must be `agent.policy()`, not the agent itself, which acts on batches")
    if policy is not None and not callable(policy):
        raise TypeError(
            f"`policy` must be a callable from an observation to an action, or `None`. Received: policy={policy!r}"
        )
    if not isinstance(env, gymnasium.Env):
        made = env() if callable(env) and not isinstance(env, EnvSpec) else make_one(drawn_id(env))
        if not isinstance(made, gymnasium.Env):
            raise TypeError(
                f"`env` as a callable must make a `gymnasium.Env`. Received: env={env!r}, which made {made!r}"
            )
        with contextlib.closing(made):
            return record_episodes(made, policy, episodes, seed, max_steps)
    recorded = []
    if seed is not None:
        env.action_space.seed(seed)
    acts = policy or _at_random(env)
    with contextlib.suppress(Stop):
        for number in range(episodes):
            first, *played = rows(env, acts, seed if number == 0 else None, max_steps)
            if not (played[-1].terminated or played[-1].truncated):
                warnings.warn(
                    f"An episode was left after {max_steps:,} steps, and counts as truncated: give the environment a time "
                    "limit, or pass another `max_steps`.",
                    stacklevel=2,
                )
                played[-1] = played[-1]._replace(truncated=True)
            ends = [(row.reward, row.terminated, row.truncated) for row in played]
            rewards, terminations, truncations = zip(*ends, strict=True)
            recorded.append(
                Episode(
                    spaces.stack(env.observation_space, [row.observation for row in (first, *played)]),
                    spaces.stack(env.action_space, [row.action for row in played]),
                    np.array(rewards, np.float32),
                    np.array(terminations, bool),
                    np.array(truncations, bool),
                )
            )
    return recorded


def _at_random(env):
    """A policy that draws actions, only allowed ones where the observation has a mask."""
    if not masks.places(env.observation_space, env.action_space):
        return lambda observation: env.action_space.sample()
    return lambda observation: env.action_space.sample(masks.for_gymnasium(env.action_space, observation[masks.KEY]))
