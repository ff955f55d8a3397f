"""Ten-step games that need every component of a nested observation or action."""

import abc

import gymnasium
import numpy as np
from gymnasium import spaces

STEPS = 10


class _GuessingGame(gymnasium.Env):
    """Each of ten steps shows a random observation and rewards the right action with up to 1."""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._step = 0
        self._shown = self.observation_space.sample() if seed is None else self._seeded(seed)
        return self._shown, {}

    def step(self, action):
        reward = float(self._score(self._shown, action))
        self._step += 1
        self._shown = self.observation_space.sample()
        return self._shown, reward, self._step == STEPS, False, {}

    @abc.abstractmethod
    def _score(self, shown, action):
        """The reward of an action after an observation."""

    def _seeded(self, seed):
        self.observation_space.seed(seed)
        return self.observation_space.sample()


class HybridTask(_GuessingGame):
    """Point at a target with the right tool: a Tuple action of a Box and a Discrete.

    The reward is 1 minus the distance between pointer and target (at least 0) with the right tool and 0 with a wrong one.
    An episode has ten steps; random actions get about 1.4, the best possible return is 10.
    """

    def __init__(self) -> None:
        self.observation_space = spaces.Dict({"target": spaces.Box(-1.0, 1.0, (1,)), "tool": spaces.Discrete(3)})
        self.action_space = spaces.Tuple((spaces.Box(-1.0, 1.0, (1,)), spaces.Discrete(3)))

    def _score(self, shown, action):
        pointer, tool = action
        distance = abs(float(pointer[0]) - float(shown["target"][0]))
        return max(0.0, 1.0 - distance) * (tool == shown["tool"])


class DictTask(_GuessingGame):
    """Add up the components of a nested Dict observation, modulo 4, and answer with a Dict action.

    The observation has a number from `Discrete(4, start=1)`, two flags and a real number whose sign counts. The action is a
    `MultiDiscrete([4, 2])` under `"answer"`, the sum and whether the real number is positive, and a `MultiBinary(2)` under
    `"flags"` that repeats the flags. Each of the four components gives a quarter of the reward. An episode has ten steps;
    random actions get about 4.4, the best possible return is 10.
    """

    def __init__(self) -> None:
        inner = spaces.Dict({"flags": spaces.MultiBinary(2), "number": spaces.Discrete(4, start=1)})
        self.observation_space = spaces.Dict({"inner": inner, "real": spaces.Box(-1.0, 1.0, (1,), np.float64)})
        self.action_space = spaces.Dict({"answer": spaces.MultiDiscrete([4, 2]), "flags": spaces.MultiBinary(2)})

    def _score(self, shown, action):
        flags, positive = shown["inner"]["flags"], int(shown["real"][0] > 0)
        right = [
            action["answer"][0] == (shown["inner"]["number"] + positive) % 4,
            action["answer"][1] == positive,
            *(action["flags"] == flags),
        ]
        return np.mean(right)
