"""Agents whose networks see the previous action and reward."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.envs import record_episodes, with_previous_step
from keras_rl_prob.testing import ScriptedEnv
from keras_rl_prob.testing.agent_acting import check_acting

CONTINUOUS = gymnasium.spaces.Box(-3.0, 3.0, (2,))
SCRIPT = [(3, "terminated"), (2, "truncated")]
AGENTS = {
    "RecurrentPPO": lambda: krp.RecurrentPPO(rollout_steps=8, previous_action_and_reward=True),
    "IMPALA": lambda: krp.IMPALA(rollout_steps=8, previous_action_and_reward=True),
    "ACER": lambda: krp.ACER(rollout_steps=8, previous_action_and_reward=True),
    "RecurrentDQN": lambda: krp.RecurrentDQN(
        replay=krp.SequenceReplaySettings(capacity=400, learning_starts=40), previous_action_and_reward=True
    ),
}


def built(name, env):
    """An agent for `env`, compiled without XLA."""
    agent = AGENTS[name]()
    agent.compile(jit_compile=False)
    agent.build(env)
    return agent


@pytest.mark.parametrize("name", ["RecurrentPPO", *(pytest.param(x, marks=pytest.mark.long) for x in list(AGENTS)[1:])])
def test_agents_train_save_load_and_act_the_same_everywhere(name, tmp_path):
    agent = built(name, "CartPole-v1")
    before = agent.network.get_weights()
    agent.fit("CartPole-v1", num_envs=4, steps_per_epoch=agent.updates_per_rollout(4) * 12, seed=0, verbose=0)
    assert all((x != y).any() for x, y in zip(before, agent.network.get_weights(), strict=True) if x.any())
    check_acting(agent, krp.envs.make("CartPole-v1", 2), 0)
    agent.save(tmp_path / "agent.keras")
    loaded = keras.saving.load_model(tmp_path / "agent.keras")
    assert loaded.previous_action_and_reward
    assert loaded.input_space == agent.input_space != agent.observation_space == loaded.observation_space
    assert loaded.evaluate("CartPole-v1", 2, verbose=0) == agent.evaluate("CartPole-v1", 2, verbose=0)


def test_a_policy_shows_its_last_action_and_the_reward():
    policy = built("RecurrentPPO", lambda: ScriptedEnv(0, SCRIPT, CONTINUOUS)).policy(deterministic=False)
    seen, act = [], policy._act
    policy._act = lambda observation, *rest: (seen.append(observation), act(observation, *rest))[1]
    first, second = record_episodes(ScriptedEnv(0, SCRIPT, CONTINUOUS), policy, episodes=2)
    assert [x["previous_reward"][0, 0] for x in seen] == [0.0, 1.0, 2.0, 0.0, 11.0]
    actions = [x["previous_action"][0] for x in seen]
    np.testing.assert_array_equal(actions, [[0, 0], *first.actions[:2], [0, 0], *second.actions[:1]])
    assert np.abs(first.actions).min() > 0


def test_a_policy_for_several_environments_takes_a_reward_for_each():
    policy = built("RecurrentPPO", "CartPole-v1").policy(2)
    seen, act = [], policy._act
    policy._act = lambda observation, *rest: (seen.append(observation), act(observation, *rest))[1]
    action = policy(np.ones((2, 4), np.float32))
    policy(np.ones((2, 4), np.float32), is_first=[False, True], reward=[5.0, 7.0])
    assert seen[1]["previous_reward"].numpy().tolist() == [[5.0], [0.0]]
    assert seen[1]["previous_action"].numpy().tolist() == [action[0], 0]


def test_a_policy_without_the_reward_raises():
    policy = built("RecurrentPPO", "CartPole-v1").policy()
    policy(np.ones(4, np.float32))
    with pytest.raises(ValueError, match=r"needs the reward of the last step.*reward=None"):
        policy(np.ones(4, np.float32))


def test_recorded_episodes_are_extended():
    agent = built("RecurrentDQN", lambda: ScriptedEnv(0, SCRIPT))
    (episode,) = record_episodes(ScriptedEnv(0, [(60, "terminated")]), lambda observation: int(observation[2]) % 2)
    source = agent.make_source(agent.seen(krp.envs.make(lambda: ScriptedEnv(0, SCRIPT), 1)), 0)
    source.load([episode])
    ages = tf.range(60)
    seen = source.ring.read("observation", source.ring.place(ages), tf.zeros_like(ages))
    np.testing.assert_array_equal(seen["observation"], episode.observations[1:])  # the last rows, in whole periods
    np.testing.assert_array_equal(seen["previous_action"], episode.actions)
    np.testing.assert_array_equal(seen["previous_reward"][:, 0], episode.rewards)


def test_an_export_takes_them_as_inputs(tmp_path):
    agent = built("RecurrentPPO", "CartPole-v1")
    agent.export(tmp_path / "policy")
    served = tf.saved_model.load(str(tmp_path / "policy"))
    state = served.initial_state(1)
    observation = {
        "observation": np.ones((1, 4), np.float32),
        "previous_action": np.array([1]),
        "previous_reward": np.array([[2.0]], np.float32),
    }
    served.serve(observation, [False], state)


def test_a_network_needs_the_inputs():
    with pytest.raises(ValueError, match=r"inputs must have the shapes of the observation space Dict.*previous_action"):
        krp.RecurrentPPO(krp.networks.recurrent("CartPole-v1"), previous_action_and_reward=True).build("CartPole-v1")
    krp.RecurrentPPO(krp.networks.recurrent(with_previous_step("CartPole-v1")), previous_action_and_reward=True).build(
        "CartPole-v1"
    )


@pytest.mark.parametrize("value", [1, "reward", None])
def test_the_argument_is_a_bool(value):
    with pytest.raises(ValueError, match=f"`previous_action_and_reward` must be a bool. Received: .*{value}"):
        krp.RecurrentPPO(previous_action_and_reward=value)


def test_an_exported_policy_begins_episodes_without_an_action_and_a_reward(tmp_path):
    pair = gymnasium.spaces.Box(-1.0, 1.0, (2,)), gymnasium.spaces.Discrete(3, start=5)
    keras.utils.set_random_seed(0)
    agent = krp.RecurrentPPO(rollout_steps=8, previous_action_and_reward=True)
    agent.build(pair)
    agent.export(tmp_path / "policy")
    served = tf.saved_model.load(str(tmp_path / "policy"))
    seen = {"observation": np.ones((1, 2), np.float32)}
    states = []
    for action, reward in ((0, 0.0), (5, 0.0), (7, 2.0)):
        previous = {"previous_action": np.array([action]), "previous_reward": np.array([[reward]], np.float32)}
        states.append(served.serve({**seen, **previous}, [True], served.initial_state(1)))
    flat = [tf.nest.flatten(state) for state in states]
    for others in flat[1:]:
        for x, y in zip(flat[0], others, strict=True):
            np.testing.assert_array_equal(x, y)
