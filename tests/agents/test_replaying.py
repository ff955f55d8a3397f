"""Custom agents with a replay buffer: with continuous actions and without Q-learning."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.agents.replaying import ReplayingModel
from keras_rl_prob.ops.masking import masked_mean
from keras_rl_prob.testing import check_agent
from keras_rl_prob.trajectory import Episode

ENV = "tf/Pendulum-v1"
REPLAY = krp.ReplaySettings(batch_size=4, capacity=200, learning_starts=8)


@keras.saving.register_keras_serializable("test_replaying")
class Imitator(ReplayingModel, krp.Agent):
    """Learns to repeat its actions."""

    def __init__(self, network=None, *, replay=REPLAY, normalize_observations=False, name=None):
        super().__init__(network, normalize_observations=normalize_observations, name=name)
        self.discount = 0.9
        self.set_replay(rollout_steps=4, updates=2, replay=replay)

    def default_network(self, env):
        return krp.networks.feed_forward(env, (4,), value=False)

    def metric_names(self):
        return ["loss", "replay_size"]

    def act(self, observation, is_first, state, seed, deterministic=False):
        action, record, _, state = self.policy_step(observation, is_first, state, seed, deterministic)
        return action, record, state

    def loss_and_logs(self, data):
        losses = -self.distribution(self(data.observation)["action"]).log_prob(data.action)
        self.keep_errors(data.index, tf.abs(losses))
        return masked_mean(losses, data.weight), {}


@keras.saving.register_keras_serializable("test_replaying")
class WithCritic(Imitator):
    """Has a second network, which is an argument too, and a copy of it."""

    def __init__(self, network=None, critic=None, *, normalize_observations=False, name=None):
        super().__init__(network, normalize_observations=normalize_observations, name=name)
        self.critic = critic

    def build_networks(self, env):
        if self.critic is None:
            self.critic = critic_for(env)
        self.other_critic = keras.models.clone_model(self.critic)

    def loss_and_logs(self, data):
        loss, logs = super().loss_and_logs(data)
        values = [critic(self.normalize(data.observation)) for critic in (self.critic, self.other_critic)]
        return loss + tf.add_n([tf.reduce_mean((value - 1.0) ** 2) for value in values]), logs


def critic_for(env):
    inputs, x = krp.networks.encoder(krp.envs.spaces_of(env)[0])
    return keras.Model(inputs, keras.layers.Dense(1)(x))


def fitted(agent, env=ENV, **arguments):
    agent.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    agent.fit(env, epochs=1, steps_per_epoch=4, num_envs=2, seed=0, verbose=0, **arguments)
    return agent


def source_of(agent):
    """The source of the last training run."""
    return agent._graphs._sources._pairs[0][1][1]


def test_an_agent_need_not_say_how_it_explores():
    assert fitted(Imitator()).exploration_report() == {}


def test_what_it_replays_are_transitions_of_continuous_actions():
    agent = fitted(fitted(Imitator()))  # the second time, after the buffer was cleared
    assert agent.updates_per_rollout(2) == 2
    data = next(iter(source_of(agent).dataset())).update(tf.constant(1))
    assert (data.action.dtype, data.action.shape) == (tf.float32, (4, 1))


def test_errors_of_any_agent_become_priorities():
    agent = fitted(Imitator(replay=krp.ReplaySettings(batch_size=4, capacity=200, learning_starts=8, prioritized=True)))
    assert agent.td_errors.shape == (2, 4)
    assert (agent.td_errors.numpy() > 0.0).all()


def test_truncated_transitions_lead_to_final_observations():
    envs = gymnasium.vector.SyncVectorEnv(
        [lambda: gymnasium.make("Pendulum-v1", max_episode_steps=3)] * 2,
        autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP,
    )
    agent = Imitator()
    agent.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    agent.fit(envs, epochs=1, steps_per_epoch=4, seed=0, verbose=0)
    assert not source_of(agent).rows.has_final_rows


def test_recorded_actions_are_stored_as_the_samples_that_give_them():
    steps, given = 10, np.linspace(-2.0, 2.0, 10, dtype=np.float32)[:, None]  # including the bounds
    episode = Episode(
        np.zeros((steps + 1, 3), np.float32),
        given,
        np.zeros(steps),
        np.zeros(steps, bool),
        np.arange(steps) == steps - 1,
    )
    agent = Imitator()
    agent.build(ENV)
    agent.add_experience([episode])
    source = agent.make_source(krp.envs.make(ENV, num_envs=1), 0)
    raw = source.ring.read("action", tf.range(steps), tf.zeros(steps, tf.int32))
    parameters = agent.network(np.zeros((steps, 3), np.float32))["action"]
    np.testing.assert_allclose(agent.environment_action(raw), given, atol=1e-5)
    assert np.isfinite(agent.distribution(parameters).log_prob(raw)).all()


def test_the_weights_of_a_loaded_agent_have_the_order_that_they_had(tmp_path):
    agent = fitted(WithCritic(normalize_observations=True))
    agent.save(tmp_path / "agent.keras")
    loaded = keras.saving.load_model(tmp_path / "agent.keras")
    for one, other in zip(agent.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_file_has_networks_that_were_given_and_networks_that_were_not(tmp_path):
    agent = fitted(WithCritic(critic=critic_for(ENV)))
    agent.save(tmp_path / "agent.keras")
    loaded = keras.saving.load_model(tmp_path / "agent.keras")
    for one, other in zip(agent.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_networks_take_observations_as_they_are_normalized():
    spaces = gymnasium.spaces.Box(0, 9, (2,), np.int32), gymnasium.spaces.Box(-1.0, 1.0, (1,))
    for normalized, dtype in ((False, "int32"), (True, "float32")):
        agent = WithCritic(normalize_observations=normalized)
        agent.build(spaces)
        assert agent.critic.inputs[0].dtype == dtype


def test_an_agent_that_is_given_two_networks_passes_the_check():
    check_agent(lambda: WithCritic(critic=critic_for(ENV)), ENV, num_envs=2)


@pytest.mark.parametrize("change", [{"updates": 4}, {"replay": {"batch_size": 4}}, {"replay": {"prioritized": True}}])
def test_what_the_errors_of_a_built_agent_depend_on_cannot_be_changed(change):
    settings = {"capacity": 64, "batch_size": 8, "learning_starts": 8, "prioritized": "prioritized" not in str(change)}
    agent = krp.DQN(rollout_steps=4, updates=2, replay=krp.ReplaySettings(**settings))
    agent.compile(run_eagerly=True)
    agent.fit("tf/CartPole-v1", num_envs=2, steps_per_epoch=2, verbose=0)
    before = agent.get_weights()
    agent.updates = change.get("updates", 2)
    agent.replay = krp.ReplaySettings(**settings | change.get("replay", {}))
    with pytest.raises(ValueError, match=r"of a built agent with priorities stay as they are.*Received: updates="):
        agent.fit("tf/CartPole-v1", num_envs=2, verbose=0)
    assert all(np.array_equal(x, y) for x, y in zip(before, agent.get_weights(), strict=True))
