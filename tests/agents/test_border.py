"""Actions of an agent are elements of the environment's space; observations may be as the environment returns them."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import keras_rl_prob as krp

OBSERVATION = spaces.Dict(
    {
        "where": spaces.Discrete(3, start=5),
        "which": spaces.MultiDiscrete([2, 3], start=[7, -4]),
        "x": spaces.Box(-1, 1, (2,)),
    }
)
ACTIONS = {
    "discrete": spaces.Discrete(3, start=5),
    "several": spaces.MultiDiscrete([2, 3], start=[7, -4]),
    "integers": spaces.Box(-3, 6, (2,), np.int64),
    "all integers": spaces.Box(-(2**31), 2**31 - 1, (2,), np.int32),
    "nested": spaces.Tuple((spaces.Discrete(2, start=1), spaces.Box(0, 9, (1,), np.uint8), spaces.MultiBinary(2))),
}


class Recorder(gymnasium.Env):
    """Random observations; rejects actions that are not in its space, and records the others."""

    observation_space = OBSERVATION

    def __init__(self, action_space):
        self.action_space, self.actions = action_space, []

    def reset(self, *, seed=None, options=None):
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.actions.append(action)
        return self.observation_space.sample(), 1.0, len(self.actions) % 5 == 0, False, {}


def batch_of(space, count):
    space.seed(3)
    return spaces.Dict({key: gymnasium.vector.utils.batch_space(child, count) for key, child in space.items()}).sample()


def element(space, batch, *index):
    """One element of a batch of elements of a space."""
    return krp.spaces.map_values(lambda x: np.asarray(x)[index], space, batch)


def is_short(agent_class, kind):
    """All kinds but integers of which there are also all, with random actions the one that has most of them."""
    return kind == "nested" or (agent_class is krp.PPO and kind != "integers")


@pytest.mark.parametrize(
    ("agent_class", "kind"),
    [
        pytest.param(agent_class, kind, marks=() if is_short(agent_class, kind) else pytest.mark.long)
        for agent_class in (krp.PPO, krp.RandomAgent)
        for kind in ACTIONS
    ],
)
def test_predictions_and_rollouts_hold_actions_as_the_environment_takes_them(agent_class, kind):
    space, rollouts = ACTIONS[kind], []
    env = gymnasium.vector.SyncVectorEnv([lambda: Recorder(space)] * 2)
    agent = agent_class(rollout_steps=8, **({"minibatches": 1, "update_epochs": 1} if agent_class is krp.PPO else {}))
    agent.compile(run_eagerly=True)

    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: rollouts.append(agent.last_rollout))
    agent.fit(env, epochs=1, steps_per_epoch=agent.updates_per_rollout(2), verbose=0, callbacks=[keep])
    played = [env.envs[0].actions, env.envs[1].actions]
    (rollout,) = rollouts
    for i in range(2):
        valid = np.flatnonzero(rollout["valid"][:, i])
        assert len(valid) == len(played[i])
        for t, action in zip(valid, played[i], strict=True):
            got = element(space, rollout["action"], t, i)
            assert space.contains(got)
            for x, y in zip(tf.nest.flatten(got), tf.nest.flatten(action), strict=True):
                np.testing.assert_array_equal(x, y)
    observations = batch_of(OBSERVATION, 6)
    actions = agent.predict(observations, verbose=0)
    assert all(space.contains(element(space, actions, i)) for i in range(6))
    if agent_class is krp.PPO:
        policy = agent.policy(num_envs=6)
        for x, y in zip(tf.nest.flatten(policy(observations)), tf.nest.flatten(actions), strict=True):
            np.testing.assert_array_equal(x, y)


def test_a_bot_sees_and_acts_as_in_the_environment():
    seen = []

    def bot(observation):
        seen.append(observation)
        return 5 + (observation["where"] == 6)

    agent = krp.DQN(
        exploration=krp.EpsilonGreedy(1.0, policy=bot),
        rollout_steps=4,
        updates=1,
        batch_size=4,
        capacity=200,
        learning_starts=8,
    )
    agent.compile(run_eagerly=True)
    env = gymnasium.vector.SyncVectorEnv([lambda: Recorder(ACTIONS["discrete"])] * 2)
    agent.fit(env, epochs=1, steps_per_epoch=2, verbose=0)
    assert {int(x) for observation in seen for x in observation["where"]} == {5, 6, 7}
    assert {int(x) for observation in seen for x in observation["which"][:, 1]} == {-4, -3, -2}
    assert set(map(int, env.envs[0].actions + env.envs[1].actions)) == {5, 6}
