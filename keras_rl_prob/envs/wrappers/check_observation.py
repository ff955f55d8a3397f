"""`CheckObservation`: observations that are not made like their space are found where they come from."""

from typing import Any

import gymnasium
from gymnasium.utils import RecordConstructorArgs

from keras_rl_prob import border
from keras_rl_prob.envs.wrappers.arguments import checked_env
from keras_rl_prob.types import GymReset, GymStep


class CheckObservation(gymnasium.Wrapper, RecordConstructorArgs):
    """Raises an error at the first observation whose layout, shape or dtype is not that of its space, and says when it was.

    Environments that are stepped one after the other need no such wrapper: there `fit` finds those observations by itself. But
    a `gymnasium.vector.AsyncVectorEnv` stretches or rounds them silently until they fit the memory that its processes share.

    Args:
        env: The environment.

    Raises:
        ValueError: From `reset` and `step`, with the component and the step.

    Example:
    >>> shorter = gymnasium.wrappers.TransformObservation(gymnasium.make("CartPole-v1"), lambda x: x[:1], None)
    >>> CheckObservation(shorter).reset(seed=0)
    Traceback (most recent call last):
    ValueError: The observation must have the shape (4,). Received: (1,) at step 0 of episode 1, from <Trans...
    """

    def __init__(self, env: gymnasium.Env) -> None:
        RecordConstructorArgs.__init__(self)
        gymnasium.Wrapper.__init__(self, checked_env(env))
        self._episode, self._step = 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> GymReset:
        """Starts an episode and checks its first observation."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._episode, self._step = self._episode + 1, 0
        self._check(observation)
        return observation, info

    def step(self, action: Any) -> GymStep:
        """Takes a step and checks its observation."""
        observation, *rest = self.env.step(action)
        self._step += 1
        self._check(observation)
        return observation, *rest

    def _check(self, observation):
        misfit = border.misfit(self.env.observation_space, observation)
        if misfit:
            raise ValueError(f"{misfit} at step {self._step} of episode {self._episode}, from {self.env}")
