"""Agents of one's own that learn from a replay memory: with continuous actions, and nothing that is of Q-learning."""

import keras

import keras_rl_prob as krp
from keras_rl_prob.ops.masking import masked_mean
from keras_rl_prob.sources.replay import ReplaySource

ENV = "tf/Pendulum-v1"
REPLAY = krp.ReplaySettings(batch_size=4, capacity=200, learning_starts=8)


class Imitator(krp.Agent):
    """Learns to do what it did."""

    def __init__(self, network=None, *, replay=REPLAY, name=None):
        super().__init__(network, name=name)
        self.rollout_steps, self.updates, self.discount, self.replay, self.experience = 4, 2, 0.9, replay, []

    def default_network(self, env):
        return krp.networks.feed_forward(env, (4,), value=False)

    def metric_names(self):
        return ["loss", "replay_size"]

    def act(self, observation, is_first, state, seed, deterministic=False):
        action, record, _, state = self.policy_step(observation, is_first, state, seed, deterministic)
        return action, record, state

    def final_value(self, observation, state):
        return observation

    def updates_per_rollout(self, num_envs):
        return self.updates

    def make_source(self, env, seed):
        return ReplaySource(self, env, seed, self.replay)

    def loss_and_logs(self, data):
        policy = self.distribution(self(data.observation)["action"])
        return -masked_mean(policy.log_prob(data.action), data.weight), {}


def fitted(agent, env=ENV, **arguments):
    agent.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    agent.fit(env, epochs=1, steps_per_epoch=4, num_envs=2, seed=0, verbose=0, **arguments)
    return agent


def test_an_agent_need_not_say_how_it_explores():
    assert fitted(Imitator()).exploration_report() == {}
