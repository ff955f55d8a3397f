"""An environment with a fixed script, whatever the actions."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from keras_rl_prob import checks
from keras_rl_prob.types import GymReset, GymStep

ENDS = "terminated", "truncated"


class ScriptedEnv(gymnasium.Env):
    """An environment with episodes of given lengths, whose observations identify environment, episode and step.

    The observation is `(index, episode, step)` as float32, so that a failing test shows the cause; the reward of step `n` (from
    1) is `10 * episode + n`. After the last scripted episode the script starts again.

    Args:
        index: Finite number that identifies the environment.
        episodes: List of pairs `(length, end)`; `end` is `"terminated"` or `"truncated"`.
        action_space: Any Gymnasium space; default: `Discrete(2)`.

    Raises:
        TypeError: `action_space` is not a space.
        ValueError: `index` is not a finite number, or `episodes` is not such a list.

    Example:
    >>> env = ScriptedEnv(7, [(2, "terminated"), (1, "truncated")])
    >>> env.reset()[0].tolist(), env.step(0)[0].tolist(), env.step(0)[1:4]
    ([7.0, 0.0, 0.0], [7.0, 0.0, 1.0], (2.0, True, False))
    """

    def __init__(
        self, index: float, episodes: Sequence[tuple[int, str]], action_space: gymnasium.Space | None = None
    ) -> None:
        self.index, self.episodes = checks.number("index", index, least=-np.inf), _checked(episodes)
        if not isinstance(action_space, gymnasium.Space | None):
            raise TypeError(
                f"`action_space` must be a space of Gymnasium, or `None`. Received: action_space={action_space!r}"
            )
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2) if action_space is None else action_space
        self.actions: list[Any] = []
        self._episode, self._step = -1, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> GymReset:
        """Starts the next episode of the script."""
        super().reset(seed=seed)
        self._episode, self._step = self._episode + 1, 0
        return self._observation(), {}

    def step(self, action: Any) -> GymStep:
        """Takes the next step of the script; the action is only recorded in `actions`."""
        length, end = self.episodes[self._episode % len(self.episodes)]
        self.actions.append(action)
        self._step += 1
        done = self._step == length
        reward = 10.0 * self._episode + self._step
        return self._observation(), reward, done and end == "terminated", done and end == "truncated", {}

    def _observation(self):
        return np.array([self.index, self._episode, self._step], np.float32)


def _checked(episodes):
    """The script as a list of pairs of integer and string."""
    pairs = list(episodes) if isinstance(episodes, list | tuple) else []
    if not pairs or not all(isinstance(pair, list | tuple) and len(pair) == 2 and pair[1] in ENDS for pair in pairs):
        raise ValueError(
            f"`episodes` must be a list of pairs of a length and one of {list(ENDS)}. Received: episodes={episodes!r}"
        )
    return [(checks.integer(f"episodes[{index}][0]", length), end) for index, (length, end) in enumerate(pairs)]
