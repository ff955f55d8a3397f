"""`CheckObservation`: detects observations that do not match their space."""

from typing import Any

import gymnasium
from gymnasium.utils import RecordConstructorArgs

from keras_rl_prob import border
from keras_rl_prob.envs.wrappers.arguments import checked_env
from keras_rl_prob.types import GymReset, GymStep


class CheckObservation(gymnasium.Wrapper, RecordConstructorArgs):
    """Raises an error for the first observation whose structure, shape or dtype does not match its space, with the step.

    Environments that are stepped one after the other need no such wrapper: there `fit` detects such observations itself. But
    a `gymnasium.vector.AsyncVectorEnv` silently broadcasts or casts them to fit the shared memory of its processes.

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
