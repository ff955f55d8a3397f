"""Bots that play some of the environments while an agent learns from all of them."""

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import keras_rl_prob as krp
from keras_rl_prob.testing import ScriptedEnv

SCRIPT = [(3, "terminated"), (2, "truncated")]
REPLAY = {"capacity": 400, "batch_size": 8, "learning_starts": 8}


def parity(observation):
    """An action that tells the observation: 1 in odd steps."""
    return int(observation[2]) % 2


def scripted(mode=AutoresetMode.NEXT_STEP, action_space=None):
    return SyncVectorEnv([lambda i=i: ScriptedEnv(i, SCRIPT, action_space) for i in range(3)], autoreset_mode=mode)


def played(agent, bots, env, rollouts=3):
    """Rows `[T, B, ...]` of the replay buffer after some rollouts, and the summed report on them."""
    made = krp.envs.make(env)
    agent._prepare_for(made, agent.updates)
    source = bots.make_source(agent, agent.seen(made), 0)
    reports = [source.store(source.play()) for _ in range(rollouts)]
    rows = tf.range(source.ring.size)[:, None] + 0 * tf.range(3)
    envs = 0 * rows + tf.range(3)
    names = ("observation", "action", "valid")
    return source, {name: source.ring.read(name, rows, envs) for name in names}, reports


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_the_buffer_has_the_actions_of_both(mode):
    agent = krp.DQN(rollout_steps=8, updates=1, exploration=krp.EpsilonGreedy(1.0), replay=krp.ReplaySettings(**REPLAY))
    agent.compile(run_eagerly=True)
    env = scripted(mode)
    _, rows, reports = played(agent, krp.imitation.Bots(parity, envs=2), env)
    steps, actions = rows["observation"].numpy()[..., 2], rows["action"].numpy()
    np.testing.assert_array_equal(actions[:, :2], steps[:, :2] % 2)
    assert (actions[:, 2] != steps[:, 2] % 2).any()
    for index, one in enumerate(env.envs):  # the environments received these actions
        valid = rows["valid"].numpy()[:, index]
        np.testing.assert_array_equal(one.actions, actions[valid, index])
    # The agent's own episodes are those of the third environment; all steps count.
    ended = sum(int(report["episodes"]) for report in reports)
    finished = [3, 2] * 10
    assert sum(float(report["length"]) for report in reports) == sum(finished[:ended])
    assert len(env.envs[2].actions) - sum(finished[:ended]) in range(3)
    assert int(agent.env_steps) == rows["valid"].numpy().sum()


@pytest.mark.parametrize("sees_previous", [False, True])
def test_another_agent_with_memory_plays_as_it_would_alone(sees_previous):
    """The actions of the bot are those of its `policy()`; the stored states are those of the agent."""
    env = scripted()
    network = krp.networks.recurrent(env, "gru", 4)
    bot = krp.RecurrentPPO(network)
    bot.build(env)
    bot.network.set_weights([5.0 * x for x in bot.network.get_weights()])
    agent = krp.RecurrentDQN(
        rollout_steps=8,
        updates=1,
        replay=krp.SequenceReplaySettings(**REPLAY, sequence_length=3, burn_in=1, period=2, n_step=1),
        previous_action_and_reward=sees_previous,
    )
    agent.compile(run_eagerly=True)
    source, rows, _ = played(agent, krp.imitation.Bots(bot), env, rollouts=2)
    observations = rows["observation"]["observation"] if sees_previous else rows["observation"]
    policy, wanted = bot.policy(), []
    for row in observations.numpy()[:, 0]:
        if row[2] == 0:
            policy.reset()
        wanted.append(policy(row))
    valid = rows["valid"].numpy()[:, 0]
    np.testing.assert_array_equal(rows["action"].numpy()[valid, 0], np.array(wanted)[valid])
    assert len(set(np.array(wanted)[valid])) == 2  # the episodes of this script need both
    np.testing.assert_array_equal(tf.nest.flatten(source.play().state)[0].shape[1:], [3, 64])


def test_training_with_bots():
    """The last of four environments is the agent's; a second run with the same seed is the same."""
    agent = krp.DQN(rollout_steps=4, updates=2, replay=krp.ReplaySettings(**REPLAY, prioritized=True))
    agent.compile(jit_compile=False)
    agent.build("tf/CartPole-v1")
    start, ends = agent.get_weights(), []
    bots = krp.imitation.Bots(lambda observation: int(observation[2] + observation[3] > 0), envs=3)
    for _ in range(2):
        agent.set_weights(start)
        settings = {"num_envs": 4, "steps_per_epoch": 60, "collectors": bots, "verbose": 0, "seed": 0}
        history = agent.fit("tf/CartPole-v1", **settings).history
        assert history["return"][0] < 60  # nearly random; the bot's are about 200
        assert 450 <= history["env_steps"][0] <= 480
        ends.append(np.concatenate([np.ravel(x) for x in agent.network.get_weights()]))
        agent.compile(jit_compile=False)
    np.testing.assert_array_equal(*ends)


def test_continuous_actions_are_stored_as_they_are_squashed():
    box = spaces.Box(-2.0, 2.0, (2,), np.float32)
    env = scripted(action_space=box)
    agent = krp.SAC(rollout_steps=8, updates=1, replay=krp.ReplaySettings(**REPLAY))
    agent.compile(run_eagerly=True)
    made = np.array([1.5, -2.0], np.float32)
    _, rows, _ = played(agent, krp.imitation.Bots(lambda observation: made), env, rollouts=1)
    taken = agent.environment_action(rows["action"]).numpy()
    np.testing.assert_allclose(taken[:, 0], np.tile(made, (8, 1)), atol=1e-4)
    np.testing.assert_allclose(env.envs[0].actions, np.tile(made, (len(env.envs[0].actions), 1)), atol=1e-4)


class Masked(gymnasium.Wrapper):
    """Forbids action 1 in the second step of each episode."""

    def __init__(self, env):
        super().__init__(env)
        self.observation_space = spaces.Dict({"seen": env.observation_space, "action_mask": spaces.MultiBinary(2)})

    def reset(self, **options):
        observation, info = self.env.reset(**options)
        return self._with_mask(observation), info

    def step(self, action):
        observation, *rest = self.env.step(action)
        return self._with_mask(observation), *rest

    def _with_mask(self, observation):
        return {"seen": observation, "action_mask": np.array([1, observation[2] != 1], np.int8)}


def test_masks_forbid_actions_of_bots():
    env = SyncVectorEnv([lambda i=i: Masked(ScriptedEnv(i, SCRIPT)) for i in range(3)])
    agent = krp.DQN(rollout_steps=8, updates=1, replay=krp.ReplaySettings(**REPLAY))
    agent.compile(run_eagerly=True)
    seen = []
    bots = krp.imitation.Bots(lambda observation: seen.append(observation) or 1)
    _, rows, _ = played(agent, bots, env, rollouts=1)
    steps = rows["observation"]["seen"].numpy()[:, 0, 2]
    np.testing.assert_array_equal(rows["action"].numpy()[:, 0], steps != 1)
    assert seen[-1]["seen"].shape == (3,)
    assert seen[-1]["action_mask"].dtype == np.int8


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (2, r"action of a bot must be in Discrete\(2\)"),
        (0.5, "action of a bot must have the dtype int64"),
        (np.zeros(2, int), r"action of a bot must have the shape \(\)"),
    ],
)
def test_wrong_actions(action, message):
    agent = krp.DQN(rollout_steps=4, updates=1, replay=krp.ReplaySettings(**REPLAY))
    agent.compile(run_eagerly=True)
    with pytest.raises(ValueError, match=message):
        agent.fit("CartPole-v1", collectors=krp.imitation.Bots(lambda observation: action), num_envs=2, verbose=0)
    assert agent.predict(np.zeros((1, 4), np.float32), verbose=0).shape == (1,)  # still whole


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"policy": 3}, TypeError, "`policy` must be a callable from an observation to an action, or a built agent"),
        ({"policy": parity, "envs": 0}, ValueError, "`envs` must be a positive integer"),
        ({"policy": krp.PPO()}, ValueError, "`policy` must be a built agent"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        krp.imitation.Bots(**arguments)


def test_agents_and_environments_that_do_not_fit():
    def fitting(agent, bots):
        agent.compile(run_eagerly=True)
        agent.fit("CartPole-v1", collectors=bots, num_envs=2, verbose=0)

    with pytest.raises(ValueError, match=r"needs an agent with a replay buffer.*Received: a PPO"):
        fitting(krp.PPO(), krp.imitation.Bots(parity))
    with pytest.raises(ValueError, match=r"`envs` of Bots must be at most.*envs=3, num_envs=2"):
        fitting(krp.DQN(), krp.imitation.Bots(parity, envs=3))
    other = krp.A2C()
    other.build("Acrobot-v1")
    with pytest.raises(ValueError, match="must have the spaces of the agent that learns"):
        fitting(krp.DQN(), krp.imitation.Bots(other))
    with pytest.raises(TypeError, match=r"agent itself in place of its `policy\(\)`"):
        krp.imitation.Bots(other.policy())
    previous = krp.RecurrentPPO(previous_action_and_reward=True)
    previous.build("CartPole-v1")
    with pytest.raises(ValueError, match=r"must not see the previous action and reward unless the agent does"):
        fitting(krp.DQN(), krp.imitation.Bots(previous))
