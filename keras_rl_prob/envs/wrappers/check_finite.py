"""`CheckFinite`: detects NaN and infinity where they first occur."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from keras_rl_prob import spaces
from keras_rl_prob.envs.wrappers.arguments import checked_env
from keras_rl_prob.types import GymReset, GymStep


class CheckFinite(gymnasium.Wrapper, RecordConstructorArgs):
    """Raises an error for the first observation or reward that is NaN or infinite, with the environment and the step.

    `fit` detects such numbers too, but only those that reach it. Use this as the innermost wrapper to detect those that another
    wrapper hides or spreads, for example a running mean or a history.

    Args:
        env: The environment.

    Raises:
        FloatingPointError: From `reset` and `step`, with the environment, the step, the action and the component.

    Example:
    >>> env = CheckFinite(gymnasium.wrappers.TransformReward(gymnasium.make("CartPole-v1"), lambda reward: float("nan")))
    >>> _ = env.reset(seed=0)
    >>> env.step(1)
    Traceback (most recent call last):
    FloatingPointError: The reward must be finite. Received: nan at step 1 of episode 1, after the action 1, from <Trans...
    """

    def __init__(self, env: gymnasium.Env) -> None:
        RecordConstructorArgs.__init__(self)
        gymnasium.Wrapper.__init__(self, checked_env(env))
        self._episode, self._step = 0, 0
        self._names = spaces.leaf_names(env.observation_space)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> GymReset:
        """Starts an episode and checks its first observation."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._episode, self._step = self._episode + 1, 0
        self._check_observation(observation, "after the reset")
        return observation, info

    def step(self, action: Any) -> GymStep:
        """Takes a step and checks its observation and its reward."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._step += 1
        self._check_observation(observation, f"after the action {action}")
        self._check("The reward", reward, f"after the action {action}")
        return observation, reward, terminated, truncated, info

    def _check_observation(self, observation, when):
        leaves = spaces.pairs(self.env.observation_space, observation)
        for name, (space, value) in zip(self._names, leaves, strict=True):
            if isinstance(space, spaces.LEAVES):
                self._check(f"The observation {name!r}" if name else "The observation", value, when)

    def _check(self, what, value, when):
        array = np.asarray(value)
        finite = np.isfinite(array)
        if not finite.all():
            place = np.unravel_index(np.argmin(finite), array.shape)
            component = f" in component {[int(i) for i in place]}" if place else ""
            raise FloatingPointError(
                f"{what} must be finite. Received: {array[place]}{component} at step {self._step} of episode {self._episode}, "
                f"{when}, from {self.env}"
            )
