"""Checks of the values that single environments return."""

from typing import Any

import gymnasium
import numpy as np

from keras_rl_prob.types import GymReset, GymStep

OLD_GYM = (
    "Environments of the old gym return other things: put `gymnasium.make('GymV21Environment-v0', env=env)` of the package "
    "shimmy around them"
)
NUMBERS, FLAGS = {float, int, np.float64, np.float32}, {bool, np.bool_}
CHECK = "`krp.testing.check_env` checks a whole environment"


class SingleEnv(gymnasium.Wrapper):
    """Wrapper around each environment of a batch, whose errors name it if its return values are not those of Gymnasium's API.

    Observations that are not elements of the observation space are detected in the batch, which is faster. Infos are
    dropped: they are not used, and Gymnasium cannot batch infos that differ between environments.

    Args:
        env: A `gymnasium.Env`.
        index: Its number in the batch.
    """

    def __init__(self, env: gymnasium.Env, index: int = 0) -> None:
        super().__init__(env)
        self.index = index

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> GymReset:
        """Resets the environment; `ValueError` unless it returns an observation and infos."""
        result = self.env.reset(seed=seed, options=options)
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise self._error("reset", "a tuple of observation and info", _described(result), OLD_GYM)
        self._check_observation("reset", result[0])
        return result[0], {}

    def step(self, action: Any) -> GymStep:
        """Steps the environment; `ValueError` unless it returns five values, of which the reward is a number."""
        result = self.env.step(action)
        if (
            type(result) is tuple and len(result) == 5
        ):  # the usual case: more checks would cost as much as a step of CartPole
            observation, reward, terminated, truncated, _ = result
            usual = type(reward) in NUMBERS and type(terminated) in FLAGS and type(truncated) in FLAGS
            if usual and observation is not None:
                return observation, reward, terminated, truncated, {}
        return self._looked_at(result)

    def _looked_at(self, result):
        """The result of a step with other valid types; raises a `ValueError` if it is invalid."""
        if not isinstance(result, tuple | list) or len(result) != 5:
            expected = "a tuple of observation, reward, terminated, truncated and info"
            raise self._error("step", expected, _described(result), OLD_GYM)
        observation, reward, *ends, _ = result
        self._check_observation("step", observation)
        if not _is_scalar(reward):
            cure = "`gymnasium.wrappers.TransformReward` makes one number of several, as of a vector of objectives"
            raise self._error("step", "one real number as reward", repr(reward), cure)
        for name, end in zip(("terminated", "truncated"), ends, strict=True):
            if not _is_scalar(end):
                raise self._error("step", f"True or False as `{name}`", repr(end), CHECK)
        return observation, float(reward), *map(bool, ends), {}

    def _check_observation(self, method, observation):
        if observation is None:
            raise self._error(method, f"an element of {self.env.observation_space} as observation", "None", CHECK)

    def _error(self, method, expected, received, cure):
        name = type(self.env.unwrapped).__name__
        return ValueError(
            f"`{name}.{method}` must return {expected}. Received: {received} (environment {self.index}). {cure}"
        )


def described(vector_env: gymnasium.vector.VectorEnv) -> str:
    """The name of a batch of environments in errors: the classes of the environments, if known."""
    single = getattr(getattr(vector_env, "unwrapped", None), "envs", None) or ()
    kinds = sorted({type(getattr(env, "unwrapped", env)).__name__ for env in single})
    return f"{' and '.join(kinds)} ({len(single)} of them)" if kinds else str(vector_env)


def _is_scalar(value):
    """Whether a value is a real number, or a scalar array or tensor."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):
        return False
    return array.shape == () and array.dtype.kind in "biuf"


def _described(result):
    """A short description of a returned value."""
    if isinstance(result, tuple | list):
        return f"a {type(result).__name__} of {len(result)} values"
    return f"a value of type {type(result).__name__}"
