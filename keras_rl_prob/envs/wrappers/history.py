"""Observations of several steps in one: their differences, or a stack of them."""

import collections
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from keras_rl_prob.envs.wrappers.arguments import check_box, checked_env
from keras_rl_prob.types import GymReset

_TWICE_AS_WIDE = {1: np.int16, 2: np.int32, 4: np.int64, 8: np.int64}


class FrameDelta(gymnasium.ObservationWrapper, RecordConstructorArgs):
    """Replaces the observation by its change since the last step, which shows what moves.

    The first observation of an episode is not changed, as if the one before were 0. So no information is lost: the sum of all
    differences of an episode is the current observation.

    Real numbers keep their dtype. Integers become signed integers of twice the width, in which no difference wraps around:
    frames of bytes (uint8) become int16. The space has the bounds `low - high` and `high - low`, extended if necessary to
    include the first observation.

    Args:
        env: An environment with `Box` observations.

    Raises:
        ValueError: The observations are not a Box, or 64 bits are too few for their differences.

    References:
        - [Karpathy (2016), Deep Reinforcement Learning: Pong from Pixels](https://karpathy.github.io/2016/05/31/rl/) learns
          from differences of frames.

    Example:
    >>> env = FrameDelta(gymnasium.make("MountainCar-v0"))
    >>> first, _ = env.reset(seed=0)
    >>> second, *_ = env.step(2)
    >>> bool(abs(second[0] - second[1]) < 1e-6)  # the position changed by the velocity, which was 0 before
    True
    """

    def __init__(self, env: gymnasium.Env) -> None:
        RecordConstructorArgs.__init__(self)
        gymnasium.ObservationWrapper.__init__(self, checked_env(env))
        check_box(env)
        space = self.observation_space = _space_of_differences(env.observation_space)
        self._previous = np.zeros_like(space.low)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> GymReset:
        """Starts an episode, whose first observation is not changed."""
        self._previous = np.zeros_like(self._previous)
        return super().reset(seed=seed, options=options)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Returns the observation minus the one before it."""
        now = np.array(observation, self._previous.dtype)
        change, self._previous = now - self._previous, now
        return np.asarray(change)


class FrameHistory(gymnasium.ObservationWrapper, RecordConstructorArgs):
    """Stacks the current observation and some past ones along a new axis.

    Gymnasium's `FrameStackObservation(env, 4)` stacks the last four on axis 0; this wrapper allows gaps, and any axis.
    At the start of an episode the first observation replaces those that do not exist yet. To flatten the stack, use
    Gymnasium's `FlattenObservation` (or `ReshapeObservation`) around it.

    Args:
        env: An environment with `Box` observations.
        past_indices: Age in steps of each observation in the stack; 0 is the current one and must be among them. `(3, 2, 1, 0)`
            has the latest last, like `FrameStackObservation` and `ReplaySettings(frame_axis=...)`.
        axis: Position of the new axis: 0 before all others; -1 after them, which makes channels of grayscale images
            `[height, width]`, as convolutions in Keras expect them.

    Raises:
        ValueError: The observations are not a Box, `past_indices` are not distinct integers with 0 among them, or `axis` is out
            of range.

    Example:
    >>> env = FrameHistory(gymnasium.make("MountainCar-v0"), past_indices=(8, 4, 0))
    >>> env.reset(seed=0)[0].shape
    (3, 2)
    """

    def __init__(self, env: gymnasium.Env, past_indices: Sequence[int], axis: int = 0) -> None:
        past_indices = _checked_indices(past_indices)
        RecordConstructorArgs.__init__(self, past_indices=past_indices, axis=axis)
        gymnasium.ObservationWrapper.__init__(self, checked_env(env))
        check_box(env)
        space: Any = env.observation_space
        dimensions = len(space.shape) + 1
        if not isinstance(axis, int | np.integer) or isinstance(axis, bool) or not -dimensions <= axis < dimensions:
            raise ValueError(
                f"`axis` must be an integer from {-dimensions} to {dimensions - 1} for observations of shape {space.shape}. "
                f"Received: axis={axis!r}"
            )
        self.past_indices, self.axis = past_indices, int(axis)
        low, high = (np.stack([bound] * len(past_indices), axis) for bound in (space.low, space.high))
        self.observation_space = gymnasium.spaces.Box(low, high, dtype=space.dtype)
        recent: collections.deque[np.ndarray] = collections.deque(maxlen=max(past_indices) + 1)
        self._recent = recent  # from the latest to the oldest

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> GymReset:
        """Starts an episode, with its first observation as the whole history."""
        self._recent.clear()
        return super().reset(seed=seed, options=options)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Returns the stack of the observations `past_indices` steps ago."""
        times = 1 if self._recent else max(self.past_indices) + 1
        self._recent.extendleft([np.array(observation)] * times)
        return np.stack([self._recent[index] for index in self.past_indices], self.axis)


def _space_of_differences(space):
    dtype = space.dtype
    if not np.issubdtype(dtype, np.floating):
        dtype, highest = np.dtype(_TWICE_AS_WIDE[dtype.itemsize]), int(space.high.max())
        if max(highest, highest - int(space.low.min())) > np.iinfo(dtype).max:
            raise ValueError(
                f"`env` must have observations whose differences fit into 64 bits. Received: env.observation_space={space}"
            )
    low, high = space.low.astype(dtype), space.high.astype(dtype)
    with np.errstate(over="ignore"):  # the largest number of a dtype means no bound
        low, high = np.minimum(low - high, low), np.maximum(high - low, high)
    return gymnasium.spaces.Box(low, high, space.shape, dtype)


def _checked_indices(past_indices):
    indices = list(past_indices) if np.iterable(past_indices) else []
    integers = all(isinstance(i, int | np.integer) and not isinstance(i, bool) and i >= 0 for i in indices)
    if not integers or 0 not in indices or len(set(indices)) != len(indices):
        raise ValueError(
            "`past_indices` must be different integers that are not negative, with 0, the present observation, among them. "
            f"Received: past_indices={past_indices!r}"
        )
    return [int(i) for i in indices]
