"""Wrappers that change when episodes end, and with which reward."""

import math
import numbers
from typing import Any

import gymnasium
from gymnasium.utils import RecordConstructorArgs

from keras_rl_prob.envs.wrappers.arguments import action_index, checked_action, checked_env
from keras_rl_prob.types import GymReset, GymStep


class EpisodicLife(gymnasium.Wrapper, RecordConstructorArgs):
    """Ends an episode with each lost life, while the game continues: the agent learns that losing a life is bad.

    A step after which `info["lives"]` is smaller than before terminates. The next `reset` takes a no-op step in the same game,
    whose reward is dropped; it starts a new game only when the game is over, or with a `seed` or `options`. The last life ends
    with the game itself: an Atari game may continue for some frames after the last life is lost.

    Train with it and evaluate without: the return of an episode is that of one life. Gymnasium's
    `AtariPreprocessing(terminal_on_life_loss=True)` terminates as well, but then starts a new game, so that the agent never
    sees the later parts of a game.

    Args:
        env: An environment that reports `info["lives"]`, from `reset` and `step`.
        noop: Action to continue with after a lost life; default: the NOOP of environments whose `get_action_meanings()` has
            one, as Atari games have.

    Raises:
        ValueError: `noop` is not in the action space, or is not given and there is no NOOP; from `reset` and `step`, if there
            is no `info["lives"]`.

    References:
        - [Mnih et al. (2015), Human-level control through deep reinforcement
          learning](https://doi.org/10.1038/nature14236), methods: the life counter marks the end of an episode in training.
        - [OpenAI Baselines](https://github.com/openai/baselines), `EpisodicLifeEnv`.

    Example:
    ```python
    env = krp.envs.EpisodicLife(gymnasium.make("ALE/Breakout-v5"))
    ```
    """

    def __init__(self, env: gymnasium.Env, noop: Any = None) -> None:
        RecordConstructorArgs.__init__(self, noop=noop)
        gymnasium.Wrapper.__init__(self, checked_env(env))
        if noop is None:
            noop = action_index(env, "NOOP", "EpisodicLife(env, noop=0)")
        self.noop = checked_action(env, "noop", noop)
        self._lives, self._goes_on = 0, False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> GymReset:
        """Continues with the next life, or starts a new game."""
        goes_on, self._goes_on = self._goes_on and seed is None and not options, False
        if goes_on:
            observation, _, terminated, truncated, info = self.env.step(self.noop)
            goes_on = not (terminated or truncated)
        if not goes_on:
            observation, info = self.env.reset(seed=seed, options=options)
        self._lives = self._lives_in(info)
        return observation, info

    def step(self, action: Any) -> GymStep:
        """Takes a step, which terminates if it costs a life."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        before, self._lives = self._lives, self._lives_in(info)
        lost = 0 < self._lives < before
        self._goes_on = lost and not (terminated or truncated)
        return observation, reward, terminated or lost, truncated, info

    def _lives_in(self, info):
        if "lives" not in info:
            raise ValueError(
                f"`env` must report the lives that are left in `info['lives']`. Received: env={self.env} with an info of {info}"
            )
        return int(info["lives"])


class FinalReward(gymnasium.Wrapper, RecordConstructorArgs):
    """Replaces the reward of the step that terminates an episode, for instance by a penalty for failing.

    Steps that only truncate, for example at a time limit, keep their reward.

    Args:
        env: The environment.
        reward: Finite number.

    Raises:
        ValueError: `reward` is not a finite number.

    References:
        - [Barto, Sutton and Anderson (1983)](https://doi.org/10.1109/TSMC.1983.6313077) balance a pole with -1 for failing
          and nothing else.

    Example:
    >>> env = FinalReward(gymnasium.make("CartPole-v1"), -10.0)
    >>> _, terminated = env.reset(seed=0), False
    >>> while not terminated:
    ...     _, reward, terminated, _, _ = env.step(1)
    >>> reward
    -10.0
    """

    def __init__(self, env: gymnasium.Env, reward: float) -> None:
        if not isinstance(reward, numbers.Real) or isinstance(reward, bool) or not math.isfinite(reward):
            raise ValueError(f"`reward` must be a finite number. Received: reward={reward!r}")
        RecordConstructorArgs.__init__(self, reward=float(reward))
        gymnasium.Wrapper.__init__(self, checked_env(env))
        self.reward: float = float(reward)

    def step(self, action: Any) -> GymStep:
        """Takes a step; the reward is `reward` if it terminates."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, self.reward if terminated else reward, terminated, truncated, info
