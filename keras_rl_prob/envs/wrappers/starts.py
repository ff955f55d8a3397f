"""Wrappers that take actions at the start of an episode: random ones, or those that start a game."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from keras_rl_prob.envs.wrappers.arguments import action_index, checked_action, checked_env

ATTEMPTS = 1000


class _ActingReset(gymnasium.Wrapper):
    """Takes the actions of `first_actions()` in `reset`; resets again if the episode ends during them."""

    def first_actions(self):
        raise NotImplementedError

    def reset(self, *, seed=None, options=None):
        """Starts an episode and takes the first actions; returns the observation and the info of the last of them."""
        for _ in range(ATTEMPTS):
            observation, info = self.env.reset(seed=seed, options=options)
            seed = None  # else all attempts would be the same
            for action in self.first_actions():
                observation, _, terminated, truncated, info = self.env.step(action)
                if terminated or truncated:
                    break
            else:
                return observation, info
        raise RuntimeError(
            f"`env` must outlast the actions that are taken first. Received: {self}, whose episodes ended before in all of "
            f"{ATTEMPTS} attempts"
        )


class RandomStart(_ActingReset, RecordConstructorArgs):
    """Takes 0 to `max_steps - 1` random actions after a reset, so that episodes start from different states.

    The number is uniformly distributed, and sampled again if the episode ends during these actions. Their rewards are dropped,
    but the steps count towards a `TimeLimit` inside this wrapper. All random numbers come from the environment's `np_random`:
    with the same seed an environment starts in the same state, and the seed of its `action_space` is not affected.

    Args:
        env: The environment.
        max_steps: Positive integer; 1 takes no action.

    Raises:
        ValueError: `max_steps` is not a positive integer.
        RuntimeError: From `reset`, if the episode always ends during these actions.

    References:
        - [Mnih et al. (2015), Human-level control through deep reinforcement
          learning](https://doi.org/10.1038/nature14236) start with up to 30 no-ops, for the same purpose.

    Example:
    >>> env = RandomStart(gymnasium.make("CartPole-v1"), max_steps=10)
    >>> observation, _ = env.reset(seed=0)
    >>> bool((env.reset(seed=0)[0] == observation).all())
    True
    """

    def __init__(self, env: gymnasium.Env, max_steps: int) -> None:
        if not isinstance(max_steps, int | np.integer) or isinstance(max_steps, bool) or max_steps < 1:
            raise ValueError(f"`max_steps` must be a positive integer. Received: max_steps={max_steps!r}")
        RecordConstructorArgs.__init__(self, max_steps=int(max_steps))
        gymnasium.Wrapper.__init__(self, checked_env(env))
        self.max_steps = int(max_steps)
        self._actions = copy.deepcopy(env.action_space)

    def first_actions(self) -> Iterator[Any]:
        """Yields the random actions of one attempt."""
        count, seed = self.np_random.integers((self.max_steps, 2**31))
        self._actions.seed(int(seed))
        for _ in range(count):
            yield self._actions.sample()


class FireReset(_ActingReset, RecordConstructorArgs):
    """Takes the actions after a reset that a game needs to start, such as FIRE, which serves the ball in Breakout.

    Use it around `EpisodicLife`: the ball has to be served after every lost life.

    Args:
        env: The environment.
        actions: Sequence of actions to take after each reset. Default, for Atari games and others whose
            `get_action_meanings()` has FIRE: FIRE and the action that follows it there, as in OpenAI Baselines, since some
            games also need a move.

    Raises:
        ValueError: There are no `actions` or one of them is not in the action space, or `actions` is not given and there is no
            FIRE.
        RuntimeError: From `reset`, if the episode always ends during these actions.

    References:
        - [OpenAI Baselines](https://github.com/openai/baselines), `FireResetEnv`.

    Example:
    >>> env = FireReset(gymnasium.make("MountainCar-v0"), actions=[2, 2])
    >>> observation, _ = env.reset(seed=0)
    >>> bool(observation[1] > 0)  # it is moving already
    True
    """

    def __init__(self, env: gymnasium.Env, actions: Sequence[Any] | None = None) -> None:
        RecordConstructorArgs.__init__(self, actions=actions)
        gymnasium.Wrapper.__init__(self, checked_env(env))
        if actions is None:
            fire = action_index(env, "FIRE", "FireReset(env, actions=[1])")
            unwrapped: Any = env.unwrapped
            actions = range(fire, min(fire + 2, len(unwrapped.get_action_meanings())))
        if not np.iterable(actions) or len(actions) == 0:
            raise ValueError(f"`actions` must be a sequence of at least one action. Received: actions={actions!r}")
        self.actions = [checked_action(env, f"actions[{i}]", action) for i, action in enumerate(actions)]

    def first_actions(self) -> Iterable[Any]:
        """Returns the actions."""
        return self.actions
