"""`EpisodeWindow`: the last episodes against those that a list of all has."""

import keras
import numpy as np
import pytest

import keras_rl_prob as krp


@pytest.mark.parametrize("window", [1, 7, 10_000])
def test_the_window_has_the_last_rollouts_with_enough_episodes(window):
    agent = krp.RandomAgent(rollout_steps=16)
    agent.compile(run_eagerly=True, jit_compile=False)
    rollouts, ends = [], []

    class Collect(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            mean = self.model.metrics[0]  # of the epoch so far
            rollouts.append((float(mean.count.numpy()), float(mean.total.numpy())))

        def on_epoch_end(self, epoch, logs=None):
            ends.append(len(rollouts))

    history = agent.fit(
        "tf/CartPole-v1", num_envs=2, epochs=3, steps_per_epoch=4, seed=1, verbose=0,
        callbacks=[krp.callbacks.EpisodeWindow(window), Collect()],
    ).history  # fmt: skip
    per_epoch = np.array(rollouts).reshape(3, 4, 2)
    single = np.diff(per_epoch, axis=1, prepend=0.0).reshape(
        12, 2
    )  # episodes of each rollout, and sum of their returns
    assert (single[:, 0] == 0).any(), "every rollout has an episode"
    for epoch, end in enumerate(ends):
        past = single[:end]
        first = end
        while first > 0 and past[first:, 0].sum() < window:
            first -= 1
        count, total = past[first:].sum(0)
        assert history["return_window"][epoch] == pytest.approx(total / count, rel=1e-5)
        assert history["length_window"][epoch] == pytest.approx(total / count, rel=1e-5)  # each step is worth 1
        assert history["episodes"][epoch] == past[:, 0].sum()


def test_before_the_first_end_there_is_no_mean():
    agent = krp.RandomAgent(rollout_steps=4)
    agent.compile(run_eagerly=True, jit_compile=False)
    history = agent.fit(
        "tf/CartPole-v1", num_envs=1, steps_per_epoch=1, seed=1, verbose=0, callbacks=[krp.callbacks.EpisodeWindow()]
    ).history
    assert np.isnan(history["return_window"][0])
    assert history["episodes"] == [0]


@pytest.mark.parametrize("episodes", [0, -1, 2.0])
def test_a_window_needs_a_size(episodes):
    with pytest.raises(ValueError, match="`episodes` must be a positive integer"):
        krp.callbacks.EpisodeWindow(episodes)
