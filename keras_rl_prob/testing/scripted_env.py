"""An environment that does what it was told, whatever the agent does."""

import gymnasium
import numpy as np


class ScriptedEnv(gymnasium.Env):
    """Episodes of given lengths whose observations say where they come from.

    The observation is `(index, episode, step)` as float32, so that a failing test reads as the bug; the reward of step `n`
    (from 1) is `10 * episode + n`. After the last scripted episode the script starts again.

    Args:
        index: Number that marks the environment.
        episodes: List of pairs `(length, end)`; `end` is `"terminated"` or `"truncated"`.
        action_space: Any Gymnasium space; `Discrete(2)` when left out.

    Example:
    >>> env = ScriptedEnv(7, [(2, "terminated"), (1, "truncated")])
    >>> env.reset()[0].tolist(), env.step(0)[0].tolist(), env.step(0)[1:4]
    ([7.0, 0.0, 0.0], [7.0, 0.0, 1.0], (2.0, True, False))
    """

    def __init__(self, index, episodes, action_space=None):
        self.index, self.episodes = index, episodes
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.action_space = action_space or gymnasium.spaces.Discrete(2)
        self.actions = []
        self._episode, self._step = -1, 0

    def reset(self, *, seed=None, options=None):
        """Starts the next episode of the script."""
        super().reset(seed=seed)
        self._episode, self._step = self._episode + 1, 0
        return self._observation(), {}

    def step(self, action):
        """Goes on with the script; the action is only kept in `actions`."""
        length, end = self.episodes[self._episode % len(self.episodes)]
        self.actions.append(action)
        self._step += 1
        done = self._step == length
        reward = 10.0 * self._episode + self._step
        return self._observation(), reward, done and end == "terminated", done and end == "truncated", {}

    def _observation(self):
        return np.array([self.index, self._episode, self._step], np.float32)
