"""Scripted environments that record how they are called."""

import gymnasium
import numpy as np


class Script(gymnasium.Env):
    """Episodes of given observations, the first of which `reset` returns; `log` has every call.

    `ends` is how all episodes end; `lives` has the structure of `episodes`, with the lives in each observation's info.
    """

    def __init__(self, space, episodes, ends="terminated", lives=None, rewards=1.0, action_space=None):
        self.observation_space = space
        self.action_space = action_space or gymnasium.spaces.Discrete(3)
        self.episodes, self.lives, self.ends, self.rewards = episodes, lives, ends, rewards
        self.log = []
        self._episode, self._step = -1, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._episode, self._step = (self._episode + 1) % len(self.episodes), 0
        self.log.append("reset" if seed is None else f"reset({seed})")
        return self._shown()

    def step(self, action):
        self._step += 1
        self.log.append(action)
        observation, info = self._shown()
        over = self._step == len(self.episodes[self._episode]) - 1
        reward = self.rewards if isinstance(self.rewards, float) else self.rewards[self._step - 1]
        return observation, reward, over and self.ends != "truncated", over and self.ends != "terminated", info

    def _shown(self):
        info = {} if self.lives is None else {"lives": self.lives[self._episode][self._step]}
        return self.episodes[self._episode][self._step], info


def numbers(low=-np.inf, high=np.inf):
    return gymnasium.spaces.Box(low, high, (1,), np.float32)


def counting(*lengths, **kwargs):
    """A `Script` whose episodes count steps, `[0], [1], ...`, up to these lengths."""
    episodes = [[np.array([step], np.float32) for step in range(length + 1)] for length in lengths]
    return Script(numbers(), episodes, **kwargs)


def shown(env, steps, action=0):
    """The observations of a reset and `steps` steps."""
    return np.array([env.reset()[0], *(env.step(action)[0] for _ in range(steps))])


class Lives(gymnasium.Env):
    """A random walk with three lives, of which every third step costs one."""

    observation_space = gymnasium.spaces.Box(0.0, 9.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(3)

    def get_action_meanings(self):
        return ["NOOP", "FIRE", "MOVE"]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.place = 0, self.np_random.uniform(0.0, 9.0)
        return self._observation(), {"lives": 3, "action_mask": self._mask()}

    def step(self, action):
        self.time += 1
        self.place = np.clip(self.place + action + self.np_random.normal(), 0.0, 9.0)
        lives = 3 - self.time // 3
        return self._observation(), float(self.place), lives == 0, False, {"lives": lives, "action_mask": self._mask()}

    def _mask(self):
        return np.array([1, self.time % 2, 1], np.int8)

    def _observation(self):
        return np.array([self.place, self.time], np.float32)
