"""Environments and networks that several tests of agents share."""

import gymnasium
import keras
import numpy as np
from gymnasium import spaces

import keras_rl_prob as krp


class MaskedEnv(gymnasium.Env):
    """Three actions of which a random one is forbidden at every step; an illegal one raises. Episodes of 5 steps."""

    def __init__(self):
        self.observation_space = spaces.Dict({"mask": spaces.MultiBinary(3), "x": spaces.Box(-1.0, 1.0, (2,))})
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
        self._mask[self.np_random.integers(3)] = 0
        return {"mask": self._mask, "x": self.np_random.uniform(-1, 1, 2).astype(np.float32)}


def masked_network():
    """Memory and an action mask in one network for `MaskedEnv`."""
    inputs = {"mask": keras.Input((3,), dtype="int32", name="mask"), "x": keras.Input((2,), name="x")}
    x = krp.layers.StatefulRNN(keras.layers.GRUCell(8))(keras.layers.Dense(8, "tanh")(inputs["x"]))
    action = krp.layers.DenseCategorical((3,))([x, inputs["mask"]])
    return keras.Model(inputs, {"action": action, "value": keras.layers.Dense(1)(x)})


class ImageEnv(gymnasium.Env):
    """A bright pixel on the left or on the right of a small grey image, to be named; episodes of 4 steps."""

    observation_space = spaces.Box(0, 255, (20, 20, 1), np.uint8)
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
        image = np.zeros((20, 20, 1), np.uint8)
        image[:, 10 * self._side : 10 * self._side + 10] = 255
        return image
