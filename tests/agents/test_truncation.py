"""Truncation is not termination: values after a time limit count, in every autoreset mode."""

import gymnasium
import keras
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import keras_rl_prob as krp

DISCOUNT = 0.7  # a small one is learned soon
VALUE = 1.0 / (1.0 - DISCOUNT)  # of rewards of 1 forever; if truncations were terminations it would be 2.0, not 3.3


class Chain(gymnasium.Env):
    """A reward of 1 at each step, without termination; truncated after five steps, which observations do not show."""

    observation_space = gymnasium.spaces.Box(0.0, 1.0, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.place = 0
        return np.ones(1, np.float32), {}

    def step(self, action):
        self.place += 1
        return np.ones(1, np.float32), 1.0, False, self.place == 5, {}


SMALL = {
    "rollout_steps": 8,
    "updates": 8,
    "batch_size": 32,
    "capacity": 4000,
    "learning_starts": 200,
    "target_update": 10,
}


def linear_network():
    inputs = keras.Input((1,))
    return keras.Model(inputs, {"action": krp.layers.QValues((2,))(keras.layers.Dense(2)(inputs))})


def q_network(**arguments):
    return krp.networks.q_network(Chain, (8, 8), **arguments)


AGENTS = {
    "DQN": lambda: krp.DQN(q_network(), discount=DISCOUNT, n_step=2, **SMALL),
    "DQN with priorities": lambda: krp.DQN(q_network(), discount=DISCOUNT, n_step=3, prioritized=True, **SMALL),
    "RecurrentDQN": lambda: krp.RecurrentDQN(
        q_network(cell="gru"), discount=DISCOUNT, sequence_length=6, burn_in=2, period=4, rescale_values=False, **SMALL
    ),
    "LinearQ": lambda: krp.LinearQ(linear_network(), discount=DISCOUNT),
}


def is_short(name, mode):
    """With priorities two modes; for other agents only that with separate final observations.

    Without priorities, and with environments that do not reset themselves, test_replay_source.py checks the transitions.
    """
    return name != "DQN" and (
        mode is AutoresetMode.SAME_STEP or (name == "DQN with priorities" and mode is AutoresetMode.NEXT_STEP)
    )


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        pytest.param(name, mode, marks=() if is_short(name, mode) else pytest.mark.long)
        for name in AGENTS
        for mode in AutoresetMode
    ],
)
def test_values_are_those_of_a_reward_that_goes_on_for_ever(name, mode):
    agent = AGENTS[name]()
    agent.compile(keras.optimizers.SGD(0.2) if name == "LinearQ" else keras.optimizers.Adam(1e-2), jit_compile=False)
    env = SyncVectorEnv([Chain] * 8, autoreset_mode=mode)
    agent.fit(env, epochs=1, steps_per_epoch=320, seed=0, verbose=0)
    outputs, _ = agent.unroll(np.ones((5, 1, 1), np.float32), np.arange(5)[:, None] == 0, agent.initial_state(1))
    np.testing.assert_allclose(np.max(outputs["action"], -1), VALUE, rtol=0.08)
