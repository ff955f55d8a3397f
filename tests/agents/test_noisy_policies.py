"""Policies with noisy layers explore with their noise, and are updated with the noise of the rollout."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.layers import DenseCategorical, NoisyDense, StatefulRNN


def network(memory=False, critic="value"):
    x = inputs = keras.Input((4,))
    x = NoisyDense(16, activation="tanh", sigma=2.0)(x)
    if memory:
        x = StatefulRNN(keras.layers.GRUCell(8))(x)
    action = DenseCategorical((2,), kernel_initializer="glorot_uniform")(x)
    return keras.Model(inputs, {"action": action, critic: keras.layers.Dense(1 if critic == "value" else 2)(x)})


class Watch(keras.callbacks.Callback):
    """Records the noise and the rollout after each update."""

    def __init__(self):
        self.noise, self.rollouts = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.noise.append(np.concatenate([x.numpy() for x in self.model.network.layers[1].non_trainable_weights]))
        self.rollouts.append(self.model.last_rollout)


AGENTS = {
    "PPO": lambda: krp.PPO(network(), rollout_steps=8, minibatches=1, update_epochs=1),
    "RecurrentPPO": lambda: krp.RecurrentPPO(network(True), rollout_steps=8, minibatches=1, update_epochs=1),
    "A2C": lambda: krp.A2C(network()),
    "Reinforce": lambda: krp.Reinforce(network(), max_episode_steps=8, baseline=True),
}


# PPO's updates are RecurrentPPO's, and A2C's those of Reinforce with a baseline.
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.long if kind in ("PPO", "A2C") else ()) for kind in AGENTS]
)
def test_the_noise_is_drawn_for_each_rollout(kind):
    agent, watch = AGENTS[kind](), Watch()
    agent.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    agent.fit("tf/CartPole-v1", num_envs=2, steps_per_epoch=3, seed=1, verbose=0, callbacks=[watch])
    assert len({noise.tobytes() for noise in watch.noise}) == 3
    assert all(np.abs(noise).min() > 0 for noise in watch.noise)
    observation = np.full((1, 4), 0.3, np.float32)
    quiet, noisy = (agent.network(observation, training=training)["action"].numpy() for training in (False, True))
    assert np.abs(quiet - noisy).max() > 1e-3
    actor = tf.function(agent.act, autograph=False)
    state, key = agent.initial_state(1), tf.constant([0, 1])
    for deterministic, expected in ((True, quiet), (False, noisy)):
        record = actor(tf.constant(observation), tf.constant([True]), state, key, deterministic)[1]
        np.testing.assert_allclose(record["parameters"], expected, rtol=1e-5)


@pytest.mark.parametrize("memory", [pytest.param(False, marks=pytest.mark.long), True])
def test_the_update_sees_the_noise_that_acted(memory):
    """With a learning rate of 0 the ratio stays 1, and so the KL 0, through all updates on the rollout."""
    agent_class = krp.RecurrentPPO if memory else krp.PPO
    agent = agent_class(network(memory), rollout_steps=8, minibatches=2, update_epochs=2)
    agent.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    logs = agent.fit("tf/CartPole-v1", num_envs=2, steps_per_epoch=8, seed=1, verbose=0).history
    assert abs(logs["kl"][0]) < 1e-6
    assert logs["clip_fraction"][0] == 0


ONCE = {
    "IMPALA": lambda: krp.IMPALA(network(), rollout_steps=8),
    "A3C": lambda: krp.A3C(network(), rollout_steps=8),
    "ACER": lambda: krp.ACER(
        network(critic="q"), rollout_steps=8, replay=krp.RolloutReplaySettings(ratio=0, learning_starts=0)
    ),
}


@pytest.mark.parametrize("name", ONCE)
def test_a_single_update_sees_the_noise_that_acted(name):
    """With a learning rate of 0: importance weights are 1, and the divergence of what acted from what is updated is 0."""
    agent, watch = ONCE[name](), Watch()
    agent.compile(keras.optimizers.SGD(0.0), run_eagerly=True, metrics=[] if name == "ACER" else ["row_kl"])
    logs = agent.fit("tf/CartPole-v1", num_envs=2, steps_per_epoch=3, seed=1, verbose=0, callbacks=[watch]).history
    assert len({noise.tobytes() for noise in watch.noise}) == 3
    if name != "A3C":
        assert logs["importance_weight"][0] == pytest.approx(1.0, abs=1e-5)
    if name != "ACER":
        assert max(np.abs(rollout["kl"]).max() for rollout in watch.rollouts) < 1e-6


def test_evaluation_and_predictions_are_without_noise():
    agent = AGENTS["PPO"]()
    agent.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    agent.build("tf/CartPole-v1")
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    before = agent.predict(observations, verbose=0), agent.evaluate("tf/CartPole-v1", 4, verbose=0)
    agent.resample_noise(tf.constant([3, 4]))
    np.testing.assert_array_equal(agent.predict(observations, verbose=0), before[0])
    assert agent.evaluate("tf/CartPole-v1", 4, verbose=0) == before[1]


@pytest.mark.parametrize(
    "layer",
    [keras.layers.Dropout(0.5), keras.layers.BatchNormalization(), keras.layers.GaussianNoise(1.0)],
    ids=lambda layer: layer.name,
)
def test_layers_that_the_noise_would_put_in_training_mode_are_refused(layer):
    x = inputs = keras.Input((4,))
    head = krp.layers.QValues((2,))
    noisy = keras.Model(inputs, {"action": head(layer(NoisyDense(2)(x)))})
    with pytest.raises(
        ValueError, match=rf"`NoisyDense` together with layers that differ.*Received: \['{layer.name}'\]"
    ):
        krp.DQN(noisy).build("tf/CartPole-v1")


@pytest.mark.parametrize("make", [krp.SAC, krp.RecurrentTD3])
def test_agents_that_do_not_learn_the_noise_refuse_it(make):
    x = inputs = keras.Input((3,))
    action = krp.layers.DenseNormal((1,), [[-2.0, 2.0]], hard_bounds=make is krp.SAC)(NoisyDense(4)(x))
    with pytest.raises(
        ValueError, match=f"must not have `NoisyDense` layers, whose noise {make.__name__} would not learn"
    ):
        make(keras.Model(inputs, {"action": action})).build("tf/Pendulum-v1")
