"""`RolloutHistograms`: TensorBoard reads the data of the last rollout, also when used with Keras' `TensorBoard`."""

import importlib.util
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import keras_rl_prob as krp

EPOCHS = 2


def hybrid_network():
    """A pointer and a tool for `HybridTask`."""
    inputs = {"target": keras.Input((1,), name="target"), "tool": keras.Input((), dtype="int32", name="tool")}
    x = keras.layers.Concatenate()([inputs["target"], keras.layers.Reshape((1,))(inputs["tool"])])
    x = keras.layers.Dense(8, "tanh")(x)
    action = (krp.layers.DenseNormal((1,), [-1.0, 1.0])(x), krp.layers.DenseCategorical((3,))(x))
    return keras.Model(inputs, {"action": action, "value": keras.layers.Dense(1)(x)})


class Keep(keras.callbacks.Callback):
    """Records the last rollout of each epoch, and related numbers."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_end(self, epoch, logs=None):
        rollout = self.model.last_rollout
        policy = self.model.distribution(keras.tree.map_structure(tf.constant, rollout["parameters"]))
        beta = float(self.model.kl_beta.numpy())
        self.epochs.append((int(logs["env_steps"]), rollout, policy, beta, dict(logs)))


class Watch(keras.callbacks.Callback):
    """The last rollout of the last epoch."""

    def on_epoch_end(self, epoch, logs=None):
        self.rollout = self.model.last_rollout


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The results of a training run: the recorded epochs, and the folder."""
    folder, keep = tmp_path_factory.mktemp("tb"), Keep()
    agent = krp.PPO(
        hybrid_network(), rollout_steps=16, minibatches=2, update_epochs=1, kl_penalty=krp.KLPenalty(initial_beta=0.75)
    )
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(1e-3, 1, 0.5))
    agent.compile(optimizer, run_eagerly=True, metrics=["gradient_norm", "row_kl"])
    agent.fit(
        krp.testing.HybridTask,
        epochs=EPOCHS,
        steps_per_epoch=4,
        num_envs=4,
        validation_data=krp.testing.HybridTask,
        validation_episodes=2,
        callbacks=[krp.callbacks.RolloutHistograms(folder / "rollouts"), keep, keras.callbacks.TensorBoard(folder)],
        verbose=0,
        seed=0,
    )
    return keep.epochs, folder


def events(folder):
    """Dict from tag to the list of `(step, array)`."""
    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    accumulator.Reload()
    return {
        tag: [(event.step, tf.make_ndarray(event.tensor_proto)) for event in accumulator.Tensors(tag)]
        for tag in accumulator.Tags()["tensors"]
    }


def test_tags(run):
    parts = {
        "advantage",
        "value",
        "target",
        "log_prob",
        "kl",
        "action_0",
        "entropy_0",
        "mean_0",
        "stddev_0",
        "action_1",
        "entropy_1",
    }
    scalars = {"training/learning_rate", "training/env_steps_per_second", "training/kl_beta"}
    scalars |= {f"logs/{name}" for name in run[0][0][-1]}
    assert events(run[1] / "rollouts").keys() == {f"rollout/{part}" for part in parts} | scalars


def test_histograms_hold_the_rows_that_are_environment_steps(run):
    written = events(run[1] / "rollouts")
    for epoch, (steps, rollout, policy, *_) in enumerate(run[0]):
        valid = rollout["valid"]
        assert 0 < valid.sum() < valid.size
        pointer, tool = policy.distributions
        expected = {name: rollout[name] for name in ("advantage", "value", "target", "log_prob", "kl")}
        expected |= {"action_0": rollout["action"][0], "action_1": rollout["action"][1]}
        expected |= {"entropy_0": pointer.entropy(), "entropy_1": tool.entropy()}
        expected |= {"mean_0": pointer.mean(), "stddev_0": pointer.stddev()}
        for name, values in expected.items():
            values = np.asarray(values)[valid]
            step, buckets = written[f"rollout/{name}"][epoch]  # [buckets, (left, right, count)]
            assert step == steps
            assert buckets[:, 2].sum() == values.size, name
            np.testing.assert_allclose(buckets[0, 0], values.min(), rtol=1e-4, atol=1e-6, err_msg=name)
            np.testing.assert_allclose(buckets[-1, 1], values.max(), rtol=1e-4, atol=1e-6, err_msg=name)
            centre = np.average(buckets[:, :2].mean(axis=1), weights=buckets[:, 2])
            assert abs(centre - values.mean()) <= buckets[0, 1] - buckets[0, 0] + 1e-6, name


def test_scalars(run):
    written = events(run[1] / "rollouts")
    for name in ("return", "val_return", "loss", "gradient_norm", "kl_penalty", "kl_cutoff"):
        expected = [(steps, np.float32(logs[name])) for steps, *_, logs in run[0] if not np.isnan(logs[name])]
        assert [(step, value) for step, value in written[f"logs/{name}"]] == expected
    rates = [rate for _, rate in written["training/learning_rate"]]
    np.testing.assert_allclose(rates, [1e-3 * 0.5**4, 1e-3 * 0.5**8], rtol=1e-4)
    betas = [(steps, beta) for steps, _, _, beta, _ in run[0]]
    assert [(step, float(beta)) for step, beta in written["training/kl_beta"]] == betas
    assert betas[0][1] != betas[1][1]
    assert all(1 < rate < 1e7 for _, rate in written["training/env_steps_per_second"])


def test_without_a_kl_penalty_there_is_no_beta_and_one_head_needs_no_name(tmp_path):
    rows = {name: np.ones((4, 2), np.float32) for name in ("advantage", "value", "target", "log_prob")}
    rows |= {"action": np.ones((4, 2), np.int32), "parameters": np.zeros((4, 2, 2), np.float32)}
    rollout = rows | {"valid": np.ones((4, 2), bool)}
    agent = type("Agent", (krp.PPO,), {"last_rollout": rollout, "is_training": True})()
    agent.compile()
    agent.build("tf/CartPole-v1")
    callback = krp.callbacks.RolloutHistograms(tmp_path)
    callback.set_model(agent)
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    callback.on_train_batch_end(0, {"env_steps": 8.0})
    callback.on_epoch_end(0, {"env_steps": 8.0, "return": math.nan})
    parts = ("advantage", "value", "target", "log_prob", "action", "entropy")
    scalars = {"training/learning_rate", "training/env_steps_per_second", "logs/env_steps"}
    assert events(tmp_path).keys() == {f"rollout/{part}" for part in parts} | scalars


def test_an_agent_without_advantages_writes_what_it_has(tmp_path):
    agent, keep = krp.DQN(updates=2, batch_size=16, learning_starts=64, capacity=1000), Watch()
    agent.compile(run_eagerly=True)
    callbacks = [krp.callbacks.RolloutHistograms(tmp_path), keep]
    agent.fit("tf/CartPole-v1", epochs=1, steps_per_epoch=4, num_envs=8, seed=0, verbose=0, callbacks=callbacks)
    written = events(tmp_path)
    assert {tag for tag in written if tag.startswith("rollout/")} == {"rollout/action", "rollout/entropy"}
    valid, action = keep.rollout["valid"], keep.rollout["action"]
    assert 0 < action[valid].sum() < valid.sum(), "all actions are the same"
    step, buckets = written["rollout/action"][0]
    assert step == int(agent.env_steps.numpy())
    assert [count for *_, count in buckets if count] == [(action[valid] == 0).sum(), (action[valid] == 1).sum()]
    values = keep.rollout["parameters"][valid].astype(float)
    probability = np.exp(values) / np.exp(values).sum(-1, keepdims=True)
    entropy = -(probability * np.log(probability)).sum(-1)
    _, buckets = written["rollout/entropy"][0]
    assert buckets[:, 2].sum() == valid.sum()
    np.testing.assert_allclose([buckets[0, 0], buckets[-1, 1]], [entropy.min(), entropy.max()], rtol=1e-4)


def test_rate_is_that_of_collecting_and_learning(tmp_path, monkeypatch):
    clock = iter([100.0, 102.0, 104.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    callback, agent = krp.callbacks.RolloutHistograms(tmp_path), krp.PPO()
    agent.build("tf/CartPole-v1")
    agent.env_steps.assign(1000)
    callback.set_model(agent)
    callback.on_epoch_begin(3)
    callback.on_train_batch_end(0, {"env_steps": 1300.0})
    callback.on_train_batch_end(1, {"env_steps": 1600.0})
    assert callback._rate == 150.0


def test_without_tensorboard_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else 1 / 0)
    with pytest.raises(ImportError, match=r'needs TensorBoard: pip install "keras_rl_prob\[tensorboard\]"'):
        krp.callbacks.RolloutHistograms(tmp_path)


def test_stock_tensorboard_writes_the_logs(run):
    training, validation = events(run[1] / "train"), events(run[1] / "validation")
    logs = [logs for *_, logs in run[0]]
    for name in logs[0]:
        written = validation[f"epoch_{name[4:]}"] if name.startswith("val_") else training[f"epoch_{name}"]
        assert [step for step, _ in written] == list(range(EPOCHS))
        np.testing.assert_allclose([value for _, value in written], [row[name] for row in logs], rtol=1e-6)
    assert {"return", "env_steps", "entropy_0", "kl_1", "val_return"} <= logs[0].keys()
    assert not any(math.isnan(row["return"]) for row in logs)
