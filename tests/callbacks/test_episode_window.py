"""`EpisodeWindow`: the last episodes against those that a list of all has."""

import keras
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import keras_rl_prob as krp
from keras_rl_prob.testing import ScriptedEnv


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


@pytest.mark.parametrize("mode", list(AutoresetMode)[:2])
def test_the_window_is_that_of_gymnasiums_statistics(mode):
    """`RecordEpisodeStatistics` keeps the returns and lengths of the same episodes, in the order in which they ended."""
    scripts = [[(3, "terminated"), (5, "truncated")], [(2, "truncated"), (4, "terminated"), (1, "terminated")]]
    makers = [lambda i=i, s=s: ScriptedEnv(i, s) for i, s in enumerate(scripts)]
    env = RecordEpisodeStatistics(SyncVectorEnv(makers, autoreset_mode=mode), buffer_length=1000)
    agent = krp.RandomAgent(rollout_steps=6)
    agent.compile(run_eagerly=True, jit_compile=False)
    queues = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: queues.append([list(env.return_queue), list(env.length_queue)])
    )
    history = agent.fit(
        env, epochs=3, steps_per_epoch=4, seed=1, verbose=0, callbacks=[krp.callbacks.EpisodeWindow(5), note]
    ).history
    counts = [0] + [len(returns) for returns, _ in queues]
    for epoch, end in enumerate((4, 8, 12)):
        begin = max(start for start in range(end) if counts[end] - counts[start] >= 5)
        for column, name in enumerate(("return", "length")):
            values = queues[end - 1][column]
            assert history[f"{name}_window"][epoch] == pytest.approx(np.mean(values[counts[begin] :]), rel=1e-6)
            assert history[name][epoch] == pytest.approx(np.mean(values[counts[end - 4] :]), rel=1e-6)
        assert history["episodes"][epoch] == counts[end]
    assert counts[-1] == env.episode_count
    assert len(set(queues[-1][0])) >= 4


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
