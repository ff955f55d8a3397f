"""`Driver(episodes=..., observers=...)`: rollouts that end with a number of episodes, and callables that see each rollout."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from counting import CountingAgent, scripted

import keras_rl_prob as krp
from keras_rl_prob.drivers import Driver, EpisodeDriver, make_driver
from keras_rl_prob.drivers.source import rollout_source
from keras_rl_prob.envs import make

SCRIPTS = [[(3, "terminated"), (2, "truncated")], [(1, "truncated"), (4, "terminated")]]


class Episodes(keras.metrics.Sum):
    """Counts the episodes of rollouts."""

    def update_state(self, rollout):
        super().update_state(tf.cast(rollout.ended, tf.float32))


def driver_of(mode="NextStep", **settings):
    settings = {"steps": 9, "sequence_length": 9, "seed": 1, "jit_compile": False, **settings}
    return Driver(CountingAgent(), scripted(mode, SCRIPTS), **settings)


def collected(driver, count):
    collect = tf.function(driver.collect, autograph=False)
    return [tf.nest.map_structure(lambda x: x.numpy(), collect()) for _ in range(count)]


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_a_rollout_ends_with_the_row_in_which_enough_episodes_have_ended(mode):
    rollouts = collected(driver_of(mode, episodes=2), 4)
    # Ends of environment 0 in each mode: after 3 and 2 actions, and so on; NextStep has a row more for each episode.
    ends = {"NextStep": [[2, 5, 9, 12], [0, 5, 7, 12]], "SameStep": [[2, 4, 7, 9], [0, 4, 5, 9]]}[mode]
    times = sorted(ends[0] + ends[1])
    expected, start = [], 0
    for _ in range(4):  # a rollout ends with the first row by which 2 of the remaining ends have come
        left = [t for t in times if t >= start]
        expected.append(left[1] - start + 1)
        start = left[1] + 1
    assert [len(rollout.reward) for rollout in rollouts] == expected
    assert [int(rollout.ended.sum()) for rollout in rollouts] == [
        sum(s <= t < e for t in times) for s, e in zip(np.cumsum([0, *expected[:-1]]), np.cumsum(expected), strict=True)
    ]


def test_rollouts_that_end_early_are_those_of_a_plain_driver_cut_into_pieces():
    short = collected(driver_of(episodes=1), 6)
    rows = sum(len(rollout.reward) for rollout in short)
    (whole,) = collected(driver_of(steps=rows, sequence_length=rows), 1)
    for name in ("observation", "is_first", "valid", "reward", "discount", "ended", "record"):
        pieces = [getattr(rollout, name) for rollout in short]
        joined = tf.nest.map_structure(lambda *x: np.concatenate(x), *pieces)
        tf.nest.map_structure(np.testing.assert_array_equal, joined, getattr(whole, name))
    tf.nest.map_structure(np.testing.assert_array_equal, short[-1].next_step, whole.next_step)
    np.testing.assert_array_equal(short[-1].next_state[0], whole.next_state[0])
    for rollout, before in zip(short[1:], short, strict=False):
        np.testing.assert_array_equal(rollout.state[0], before.next_state[0][None])


def test_steps_are_the_most_that_a_rollout_has():
    first, second = collected(driver_of(episodes=5, steps=4, sequence_length=4), 2)
    assert [len(first.reward), len(second.reward)] == [4, 4]
    assert first.ended.sum() < 5


@pytest.mark.parametrize("jit_compile", [False, True])
def test_native_environments_stop_too(jit_compile):
    driver = Driver(
        CountingAgent(),
        make("tf/CartPole-v1", 3),
        steps=60,
        sequence_length=60,
        seed=5,
        jit_compile=jit_compile,
        episodes=3,
    )
    first, second = collected(driver, 2)
    for rollout in (first, second):
        assert len(rollout.reward) < 60
        assert rollout.ended[:-1].sum() < 3 <= rollout.ended.sum()
        assert rollout.observation.shape == (len(rollout.reward), 3, 4)
    np.testing.assert_array_equal(second.observation[0], first.next_step.observation)


def test_observers_see_each_rollout_and_metrics_are_those_of_the_driver():
    seen, metric = [], Episodes(name="episodes")
    total = tf.Variable(0.0)
    driver = driver_of(
        observers=[metric, lambda rollout: seen.append(rollout), lambda r: total.assign_add(tf.reduce_sum(r.reward))]
    )
    source = iter(rollout_source(driver.collect, lambda rollout: (rollout.reward, rollout.ended)))
    results = [next(source) for _ in range(3)]
    assert len(seen) == 1  # the graph calls a Python function only when it is traced
    assert driver.metrics == [metric]
    assert float(metric.result()) == sum(int(np.sum(ended)) for _, ended in results) > 3
    assert float(total) == sum(float(np.sum(reward)) for reward, _ in results)


def test_an_episode_driver_shows_its_observers_whole_episodes():
    seen = []
    driver = EpisodeDriver(
        CountingAgent(),
        scripted("NextStep", SCRIPTS),
        steps=6,
        sequence_length=6,
        seed=1,
        jit_compile=False,
        observers=[seen.append],
    )
    rollout = driver.collect()
    assert seen == [rollout]
    assert rollout.ended.numpy().sum(0).tolist() == [1, 1]


def test_the_metrics_of_observers_count_what_gymnasium_counts():
    """As `RecordEpisodeStatistics`, over the same environments."""
    counted, metric = [], Episodes(name="episodes")

    class Recorded(gymnasium.wrappers.RecordEpisodeStatistics):
        def step(self, action):
            *row, info = super().step(action)
            counted.extend([float(info["episode"]["l"])] if "episode" in info else [])
            return *row, info

    env = gymnasium.vector.SyncVectorEnv([lambda: Recorded(gymnasium.make("CartPole-v1"))] * 3)
    driver = Driver(CountingAgent(), make(env), steps=50, sequence_length=50, seed=3, observers=[metric])
    for _ in range(2):
        driver.collect()
    assert float(metric.result()) == len(counted) > 5


def test_fit_reports_the_metrics_of_observers():
    class Observed(Driver):
        def __init__(self, *args, **settings):
            super().__init__(*args, observers=[Episodes(name="episodes")], **settings)

    class Agent(krp.A2C):
        driver_class = Observed

    agent = Agent(rollout_steps=20)
    agent.compile(jit_compile=False)
    steps = agent.fit("tf/CartPole-v1", epochs=2, steps_per_epoch=3, num_envs=4, seed=0, verbose=0).history
    assert steps["episodes"] == [round(x) for x in steps["episodes"]]
    # 4 environments played 60 steps in each epoch, in episodes of about 20 steps with a random policy
    assert all(4 <= count <= 30 for count in steps["episodes"])
    lengths = [count * length for count, length in zip(steps["episodes"], steps["length"], strict=True)]
    assert lengths == pytest.approx([round(x) for x in lengths], rel=1e-5)  # the mean is over as many episodes


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"`episodes` must be a positive integer, or `None`. Received: episodes=0"):
        driver_of(episodes=0)
    with pytest.raises(
        ValueError, match=r"`sequence_length` must be `steps` with `episodes`.*Received: sequence_length=3"
    ):
        driver_of(episodes=2, sequence_length=3)
    with pytest.raises(TypeError, match=r"`observers` must be callables that take a rollout. Received: 'steps'"):
        driver_of(observers=["steps"])
    with pytest.raises(ValueError, match=r"`episodes` must be `None` for an `EpisodeDriver`.*Received: episodes=2"):
        make_driver(
            CountingAgent(),
            scripted("NextStep", SCRIPTS),
            EpisodeDriver,
            steps=4,
            sequence_length=4,
            seed=1,
            episodes=2,
        )
