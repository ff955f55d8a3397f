"""Lists of environments: `fit`, `evaluate` and the networks take them like a single one."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import keras_rl_prob as krp
from keras_rl_prob.agents import arguments
from keras_rl_prob.testing import ScriptedEnv


class Paying(gymnasium.Env):
    """Episodes of one step with a different reward for each environment; the observation after it may not be in the space."""

    observation_space, action_space = spaces.Box(-1.0, 1.0, (4,)), spaces.Discrete(2)

    def __init__(self, reward, changes_at=None):
        self.reward, self.changes_at, self.steps = reward, changes_at, 0

    def reset(self, *, seed=None, options=None):
        return np.zeros(4, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(1 if self.steps == self.changes_at else 4, np.float32), self.reward, True, False, {}


def paying(*rewards):
    return [lambda reward=reward: Paying(reward) for reward in rewards]


@pytest.fixture
def agent():
    agent = krp.PPO(rollout_steps=8, minibatches=1, update_epochs=1)
    agent.compile(run_eagerly=True)
    return agent


def test_fit_and_evaluate_take_a_list(agent):
    env = paying(3.0, 6.0)
    history = agent.fit(
        env, num_envs=4, steps_per_epoch=2, epochs=2, verbose=0, validation_data=paying(0.0, 9.0), validation_episodes=4
    ).history
    assert history["return"] == [4.5, 4.5]
    assert history["val_return"] == [4.5, 4.5]
    assert agent.evaluate(paying(1.0, 2.0, 6.0), episodes=6, verbose=0) == [3.0, 1.0]


def test_each_environment_of_a_list_plays_as_many_episodes(agent):
    """20 episodes cannot be shared by three; 21 can, and the mean is that of the three."""
    assert agent.evaluate(paying(1.0, 2.0, 6.0), episodes=20, verbose=0) == [3.0, 1.0]


@pytest.mark.parametrize(
    ("episodes", "kinds", "count"),
    [(20, 1, 20), (64, 1, 32), (33, 1, 11), (20, 3, 21), (100, 3, 6), (1, 3, 3), (9, 40, 40)],
)
def test_how_many_environments_share_the_episodes(episodes, kinds, count):
    assert arguments.evaluation_envs(episodes, kinds) == count


@pytest.mark.parametrize("agent_class", [krp.PPO, krp.RecurrentPPO, krp.DQN, krp.A2C, krp.LinearQ])
@pytest.mark.parametrize("kinds", [3, 5, 9])
def test_the_default_number_fits_the_default_settings(agent_class, kinds):
    made = krp.envs.make(paying(*range(kinds)), None, agent_class.default_num_envs)
    assert agent_class().updates_per_rollout(made.num_envs) > 0


def test_networks_are_built_from_a_list():
    assert krp.networks.recurrent(paying(1.0, 2.0)).inputs[0].shape == (None, 4)
    with pytest.raises(ValueError, match="same `observation_space`"):
        krp.networks.feed_forward(["CartPole-v1", *paying(1.0)])


def test_a_changed_observation_comes_out_of_fit_as_itself_and_the_agent_goes_on(agent):
    sound = paying(1.0, 1.0)
    agent.fit(sound, num_envs=2, steps_per_epoch=1, verbose=0)
    before = agent.get_weights()
    with pytest.raises(ValueError, match=r"must have the shape \(4,\). Received: \(1,\) from environment 1 at step 3"):
        agent.fit([sound[0], lambda: Paying(1.0, changes_at=2)], num_envs=2, steps_per_epoch=1, verbose=0)
    for old, new in zip(before, agent.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    history = agent.fit(sound, num_envs=2, steps_per_epoch=1, verbose=0).history
    assert history["return"] == [1.0]


def test_other_spaces_than_the_agents_are_refused(agent):
    agent.fit(paying(1.0), num_envs=2, steps_per_epoch=1, verbose=0)
    with pytest.raises(ValueError, match="observation"):
        agent.fit([lambda: ScriptedEnv(0, [(1, "terminated")])], num_envs=2, steps_per_epoch=1, verbose=0)
