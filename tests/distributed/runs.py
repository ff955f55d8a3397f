"""Short training runs with and without collectors."""

import keras
import numpy as np

import keras_rl_prob as krp
from keras_rl_prob.testing import HybridTask

NATIVE, GYMNASIUM = "tf/CartPole-v1", "CartPole-v1"
COLLECTING = {"env_steps_per_second", "queue_wait", "collector_restarts", "policy_lag", "dropped_rollouts"}


def a2c(**arguments):
    return krp.A2C(krp.networks.feed_forward(NATIVE, (8,)), rollout_steps=4, normalize_observations=True, **arguments)


def a3c(**arguments):
    return krp.A3C(krp.networks.feed_forward(NATIVE, (8,)), rollout_steps=4, normalize_observations=True, **arguments)


def ppo(**arguments):
    network = krp.networks.feed_forward(NATIVE, (8,))
    return krp.PPO(network, rollout_steps=4, minibatches=2, update_epochs=2, **arguments)


def recurrent_ppo(**arguments):
    network = krp.networks.recurrent(NATIVE, "gru", 4, shared=True)
    return krp.RecurrentPPO(network, rollout_steps=4, minibatches=2, update_epochs=1, **arguments)


def remembering_ppo(**arguments):
    network = krp.networks.recurrent(krp.envs.with_previous_step(NATIVE), "gru", 4, shared=True)
    numbers = {"rollout_steps": 4, "minibatches": 2, "update_epochs": 1}
    return krp.RecurrentPPO(network, previous_action_and_reward=True, **numbers, **arguments)


def reinforce(**arguments):
    return krp.Reinforce(krp.networks.feed_forward(NATIVE, (8,), value=False), max_episode_steps=8, **arguments)


def impala(**arguments):
    return krp.IMPALA(
        krp.networks.feed_forward(NATIVE, (8,)), rollout_steps=4, normalize_observations=True, **arguments
    )


def acer(**arguments):
    replay = krp.RolloutReplaySettings(capacity=64, learning_starts=16, ratio=1)
    return krp.ACER(krp.networks.actor_critic(NATIVE, (8,), critic="q"), rollout_steps=4, replay=replay, **arguments)


def dqn(**arguments):
    replay = krp.ReplaySettings(capacity=200, batch_size=8, learning_starts=8, n_step=2)
    return krp.DQN(krp.networks.q_network(NATIVE, (8,)), rollout_steps=4, updates=2, replay=replay, **arguments)


def sac(**arguments):
    """With a continuous and a discrete part of actions."""
    replay = krp.ReplaySettings(capacity=200, batch_size=8, learning_starts=8, n_step=2)
    networks = krp.networks.stochastic_actor(HybridTask(), (8,)), krp.networks.critic(HybridTask(), (8,))
    return krp.SAC(*networks, rollout_steps=4, updates=2, replay=replay, **arguments)


def recurrent_dqn(**arguments):
    replay = krp.SequenceReplaySettings(
        capacity=64, batch_size=4, learning_starts=32, sequence_length=4, burn_in=0, period=4, n_step=1
    )
    network = krp.networks.q_network(NATIVE, (4, 4), cell="gru")
    return krp.RecurrentDQN(network, rollout_steps=4, updates=1, replay=replay, **arguments)


def compiled(make, **arguments):
    keras.utils.set_random_seed(0)
    agent = make(**arguments)
    agent.compile(jit_compile=False)
    return agent


def source_of(agent, env, collectors, stack, num_envs=4, seed=5):
    """The source that `fit` would use until the stack is closed."""
    remote = stack.enter_context(collectors.opened(agent, env, num_envs))
    placeholder = remote.placeholder()
    stack.enter_context(placeholder.standing_for(remote))
    return collectors.make_source(agent, placeholder, seed)


def train(agent, env, collectors=None, rollouts=4, epochs=2, num_envs=4, **arguments):
    """History after some rollouts in every epoch."""
    steps = rollouts // epochs * agent.updates_per_rollout(4)
    arguments = {"seed": 5, "verbose": 0, "num_envs": num_envs} | arguments
    return agent.fit(env, epochs=epochs, steps_per_epoch=steps, collectors=collectors, **arguments).history


def run(make, env, collectors=None, **arguments):
    """History and weights after some rollouts."""
    agent = compiled(make)
    return train(agent, env, collectors, **arguments), agent.get_weights()


def without_clock(history):
    return {key: values for key, values in history.items() if key not in COLLECTING}


def same(one, other):
    """Whether two runs have equal histories, what collectors add aside, and equal weights."""
    histories, weights = zip(one, other, strict=True)
    first, second = map(without_clock, histories)
    return (
        first.keys() == second.keys()
        and all(np.array_equal(first[key], second[key], equal_nan=True) for key in first)
        and all(np.array_equal(x, y) for x, y in zip(*weights, strict=True))
    )
