"""What `fit` reports while it runs: the logs of several heads, the last rollout."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.learning.reports import ScalarMean
from keras_rl_prob.testing import HybridTask


class Watch(keras.callbacks.Callback):
    """Records `last_rollout`, and when."""

    def __init__(self):
        super().__init__()
        self.before, self.rollouts, self.logs = "never asked", [], []

    def on_train_begin(self, logs=None):
        self.before = self.model.last_rollout

    def on_train_batch_end(self, batch, logs=None):
        self.rollouts.append(self.model.last_rollout)
        self.logs.append(dict(logs))


@pytest.fixture(scope="module")
def watched():
    keras.utils.set_random_seed(3)
    agent = krp.PPO(rollout_steps=12, minibatches=2, update_epochs=2, normalize_rewards=False)
    agent.compile(run_eagerly=True)
    watch = Watch()
    agent.fit(HybridTask, epochs=1, steps_per_epoch=8, num_envs=3, verbose=0, callbacks=[watch])
    return agent, watch


def test_last_rollout_is_what_the_updates_learned_from(watched):
    agent, watch = watched
    assert watch.before is None
    assert agent.last_rollout is None
    first, last = watch.rollouts
    assert set(last) == {"action", "parameters", "log_prob", "value", "advantage", "target", "valid"}
    for name in ("log_prob", "value", "advantage", "target"):
        assert last[name].shape == (12, 3)
        assert not np.array_equal(first[name], last[name])
    np.testing.assert_allclose(last["target"], last["value"] + last["advantage"], atol=1e-6)
    assert last["valid"].dtype == bool
    policy = agent.distribution(tf.nest.map_structure(tf.constant, last["parameters"]))
    move, tool = last["action"]
    assert tool.shape == (12, 3)
    inside = (np.abs(move - agent.action_space[0].high) > 1e-3) & (np.abs(move - agent.action_space[0].low) > 1e-3)
    parts = policy.distributions[0].log_prob(move) + policy.distributions[1].log_prob(tool)
    inside = inside.reshape(12, 3, -1).all(-1)
    assert inside.sum() > 20
    np.testing.assert_allclose(parts.numpy()[inside], last["log_prob"][inside], atol=1e-3)
    box = agent.action_space[0]
    assert (last["action"][0] >= box.low).all()
    assert (last["action"][0] <= box.high).all()


# In every run: with half precision, under XLA and without, in test_agent_surface.py.
@pytest.mark.long
@pytest.mark.parametrize("jit_compile", [False, True])
def test_reported_steps_are_those_up_to_the_rollout_just_learned_from(jit_compile):
    agent, seen = krp.A2C(rollout_steps=4), []
    agent.compile(jit_compile=jit_compile)
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append((int(logs["env_steps"]), int(agent.env_steps.numpy())))
    )
    agent.fit("tf/Pendulum-v1", epochs=1, steps_per_epoch=3, num_envs=2, verbose=0, callbacks=[watch])
    assert seen == [(8, 8), (16, 16), (24, 24)]


def test_each_head_has_its_own_entropy_and_kl(watched):
    _, watch = watched
    for logs in watch.logs:
        assert logs["entropy"] == pytest.approx(logs["entropy_0"] + logs["entropy_1"], rel=1e-5)
        assert logs["kl"] == pytest.approx(logs["kl_0"] + logs["kl_1"], abs=1e-6)
        assert logs["kl_0"] > 0
        assert logs["kl_1"] > 0
    parameters = watch.rollouts[0]["parameters"][
        1
    ]  # behaviour of the first rollout, close to the policy of its updates
    entropy = keras.losses.categorical_crossentropy(tf.nn.softmax(parameters), parameters, from_logits=True)
    assert watch.logs[0]["entropy_1"] == pytest.approx(float(tf.reduce_mean(entropy)), rel=0.05)


def test_means_of_scalars_are_weighted_and_0_without_any():
    mean = ScalarMean(name="loss")
    assert float(mean.result()) == 0.0
    values, weights = (2.0, tf.constant(-7.0, tf.float16), 100), (1.0, tf.constant(0.5), 0)
    for value, weight in zip(values, weights, strict=True):
        mean.update_state(value, sample_weight=weight)
    assert float(mean.result()) == pytest.approx((2.0 - 3.5) / 1.5)
    mean.update_state(5.0)
    assert float(mean.result()) == pytest.approx((2.0 - 3.5 + 5.0) / 2.5)
    mean.reset_state()
    assert float(mean.result()) == 0.0
