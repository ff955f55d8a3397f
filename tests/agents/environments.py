"""Environments and networks that several tests of agents share."""

import gymnasium
import keras
import numpy as np
from gymnasium import spaces

import keras_rl_prob as krp


class MaskedEnv(gymnasium.Env):
    """Three actions, a random one of which is forbidden at every step and raises an error. Episodes of 5 steps.

    The mask of an episode's last observation allows no action. Action 1 is never allowed if `always`.
    """

    def __init__(self, key="mask", always=False):
        self.key, self.always = key, always
        self.observation_space = spaces.Dict({key: spaces.MultiBinary(3), "x": spaces.Box(-1.0, 1.0, (2,))})
        self.action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._step = 0
        return self._observe(), {}

    def step(self, action):
        if self._step < 5 and not self._mask[action]:
            raise ValueError(f"illegal action {action} with mask {self._mask}")
        self._step += 1
        return self._observe(), float(action), False, self._step == 5, {}

    def _observe(self):
        self._mask = np.ones(3, np.int8)
        self._mask[1 if self.always else self.np_random.integers(3)] = 0
        if self._step == 5:
            self._mask[:] = 0
        return {self.key: self._mask, "x": self.np_random.uniform(-1, 1, 2).astype(np.float32)}


RULED_ACTIONS = {
    "discrete": spaces.Discrete(4, start=-1),
    "multi-discrete": spaces.MultiDiscrete([2, 4, 3], start=[0, 5, -2]),
    "tuple": spaces.Tuple((spaces.Box(-1.0, 1.0, (1,)), spaces.Discrete(3), spaces.MultiDiscrete([2, 3]))),
    "dict": spaces.Dict(
        {
            "arm": spaces.Box(-1.0, 1.0, (1,)),
            "switches": spaces.MultiBinary(3),
            "tools": spaces.Tuple([spaces.Discrete(3)]),
        }
    ),
}


class Rules(gymnasium.Env):
    """Forbids random entries of each component of an action; these raise an error. Every other episode of 5 steps is truncated.

    The mask is in `info`, as in Gymnasium, and allows no action when the episode has ended.
    """

    def __init__(self, action_space):
        self.observation_space, self.action_space = spaces.Box(-1.0, 1.0, (2,)), action_space
        self._episode = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._episode, self._step = self._episode + 1, 0
        return self._observe()

    def step(self, action):
        if not is_legal(self.action_space, self._mask, action):
            raise ValueError(f"illegal action {action} with mask {self._mask}")
        self._step += 1
        over, truncated = self._step == 5, self._episode % 2 == 0
        observation, info = self._observe()
        return observation, 1.0, over and not truncated, over and truncated, info

    def _observe(self):
        self._mask = drawn_mask(self.action_space, self.np_random, 0.0 if self._step == 5 else 0.5)
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {"action_mask": self._mask}


def drawn_mask(space, random, chance):
    """A mask for `space.sample`, which allows an entry with this probability, and at least one unless the probability is 0."""

    def some(n):
        mask = (random.random(n) < chance).astype(np.int8)
        mask[random.integers(n)] |= chance > 0
        return mask

    if isinstance(space, spaces.Dict):
        return {key: drawn_mask(child, random, chance) for key, child in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(drawn_mask(child, random, chance) for child in space.spaces)
    if isinstance(space, spaces.Discrete):
        return some(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return tuple(some(n) for n in space.nvec)
    return 2 * some(space.n) if isinstance(space, spaces.MultiBinary) else None


def is_legal(space, mask, action):
    """Whether `space.sample(mask)` might have given this action."""
    if isinstance(space, spaces.Dict):
        return all(is_legal(child, mask[key], action[key]) for key, child in space.spaces.items())
    if isinstance(space, spaces.Tuple):
        return all(map(is_legal, space.spaces, mask, action))
    if isinstance(space, spaces.Discrete):
        return mask[action - space.start] == 1
    if isinstance(space, spaces.MultiDiscrete):
        return all(row[choice] == 1 for row, choice in zip(mask, action - space.start, strict=True))
    return space.contains(action) and (mask is None or bool(np.all((mask == 2) | (action == mask))))


def masked_network():
    """A network for `MaskedEnv` with memory and an action mask."""
    inputs = {"mask": keras.Input((3,), dtype="int32", name="mask"), "x": keras.Input((2,), name="x")}
    x = krp.layers.StatefulRNN(keras.layers.GRUCell(8))(keras.layers.Dense(8, "tanh")(inputs["x"]))
    action = krp.layers.DenseCategorical((3,))([x, inputs["mask"]])
    return keras.Model(inputs, {"action": action, "value": keras.layers.Dense(1)(x)})


class ImageEnv(gymnasium.Env):
    """A bright pixel on the left or right of a small grey image; the action must be its side. Episodes of 4 steps."""

    observation_space = spaces.Box(0, 255, (32, 32, 1), np.uint8)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._step = 0
        return self._observe(), {}

    def step(self, action):
        self._step += 1
        reward = float(action == self._side)
        return self._observe(), reward, self._step == 4, False, {}

    def _observe(self):
        self._side = int(self.np_random.integers(2))
        image = np.zeros((32, 32, 1), np.uint8)
        image[:, 10 * self._side : 10 * self._side + 10] = 255
        return image


class SpoiledCartPole(krp.envs.native.CartPole):
    """CartPole whose observations soon become NaN."""

    def transition(self, state, action, seed):
        state, reward, terminated = super().transition(state, action, seed)
        return state * np.nan, reward, terminated
