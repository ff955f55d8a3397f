"""The driver against scripted environments: exact rows, in every autoreset mode, over consecutive rollouts."""

import numpy as np
import pytest
import tensorflow as tf
from counting import CountingAgent, scripted

from keras_rl_prob.drivers import Driver, EpisodeStatistics, rollout_source
from keras_rl_prob.envs import make

SCRIPTS = [[(3, "terminated"), (2, "truncated")], [(1, "truncated"), (4, "terminated")]]


def collect(mode, steps, rollouts, sequence_length=None):
    """`rollouts` consecutive rollouts of the counting agent, as NumPy."""
    driver = Driver(
        CountingAgent(),
        scripted(mode, SCRIPTS),
        steps=steps,
        sequence_length=sequence_length or steps,
        seed=1,
        jit_compile=False,
    )
    collect = tf.function(driver.collect, autograph=False)
    return [tf.nest.map_structure(lambda x: x.numpy(), collect()) for _ in range(rollouts)]


def rows(rollouts, field):
    return np.concatenate([getattr(rollout, field) for rollout in rollouts])


def test_next_step_rows_are_exact_over_two_rollouts():
    rollouts = collect("NextStep", 5, 2)
    episode_and_step = rows(rollouts, "observation")[..., 1:]
    # environment 0: 3 actions and a final row, 2 actions and a final row, 3 actions ...
    assert episode_and_step[:, 0].tolist() == [
        [0, 0],
        [0, 1],
        [0, 2],
        [0, 3],
        [1, 0],
        [1, 1],
        [1, 2],
        [2, 0],
        [2, 1],
        [2, 2],
    ]
    assert episode_and_step[:, 1].tolist() == [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
        [1, 2],
        [1, 3],
        [1, 4],
        [2, 0],
        [2, 1],
        [3, 0],
    ]
    assert rows(rollouts, "is_first")[:, 0].astype(int).tolist() == [1, 0, 0, 0, 1, 0, 0, 1, 0, 0]
    assert rows(rollouts, "valid")[:, 0].astype(int).tolist() == [1, 1, 1, 0, 1, 1, 0, 1, 1, 1]
    assert rows(rollouts, "ended")[:, 0].astype(int).tolist() == [0, 0, 1, 0, 0, 1, 0, 0, 0, 1]
    assert rows(rollouts, "discount")[:, 0].astype(int).tolist() == [1, 1, 0, 1, 1, 1, 1, 1, 1, 0]
    assert rows(rollouts, "reward")[:, 0].tolist() == [1, 2, 3, 0, 11, 12, 0, 21, 22, 23]
    assert rows(rollouts, "reward")[:, 1].tolist() == [1, 0, 11, 12, 13, 14, 0, 21, 0, 31]
    assert [rollout.final_value for rollout in rollouts] == [(), ()]


@pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
def test_environments_that_reset_within_the_step_give_final_values(mode):
    rollouts = collect(mode, 4, 2)
    episode_and_step = rows(rollouts, "observation")[..., 1:]
    assert episode_and_step[:, 0].tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [2, 0], [2, 1], [2, 2]]
    assert episode_and_step[:, 1].tolist() == [[0, 0], [1, 0], [1, 1], [1, 2], [1, 3], [2, 0], [3, 0], [3, 1]]
    assert rows(rollouts, "valid").all()
    assert rows(rollouts, "ended")[:, 0].astype(int).tolist() == [0, 0, 1, 0, 1, 0, 0, 1]
    assert rows(rollouts, "discount")[:, 0].astype(int).tolist() == [1, 1, 0, 1, 1, 1, 1, 0]
    assert rows(rollouts, "reward")[:, 0].tolist() == [1, 2, 3, 11, 12, 21, 22, 23]
    # where truncated: 100 + rows seen before the reset + a tenth of the final observation's step; else 0
    assert rows(rollouts, "final_value")[:, 0].tolist() == pytest.approx([0, 0, 0, 0, 102.2, 0, 0, 0])
    assert rows(rollouts, "final_value")[:, 1].tolist() == pytest.approx([101.1, 0, 0, 0, 0, 101.1, 0, 0])


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_memory_restarts_with_every_episode(mode):
    rollouts = collect(mode, 6, 3)
    seen = np.concatenate([rollout.record["seen"] for rollout in rollouts])
    assert np.array_equal(seen, rows(rollouts, "observation")[..., 2] + 1)


def test_recurrent_state_is_stored_at_the_start_of_every_sequence():
    rollouts = collect("NextStep", 6, 2, sequence_length=2)
    whole = collect("NextStep", 6, 2)
    for chunked, plain in zip(rollouts, whole, strict=True):
        assert np.array_equal(chunked.observation, plain.observation)
        assert np.array_equal(chunked.record["seed"], plain.record["seed"])
        assert chunked.state[0].shape == (3, 2)
        assert np.array_equal(chunked.state[0][1:], plain.record["seen"][1:-1:2])
        assert np.array_equal(chunked.next_state[0], plain.record["seen"][-1])
    assert np.array_equal(rollouts[0].state[0][0], [0, 0])
    assert np.array_equal(rollouts[1].state[0][0], rollouts[0].next_state[0])


def test_no_two_steps_share_a_seed():
    seeds = np.concatenate([rollout.record["seed"][:, 0] for rollout in collect("NextStep", 5, 4, sequence_length=1)])
    assert len({tuple(seed) for seed in seeds}) == 20


def test_compiled_native_rollouts_equal_plain_ones():
    class Pushing(CountingAgent):
        def act(self, observation, is_first, state, seed):
            action, record, state = super().act(observation, is_first, state, seed)
            return tf.random.stateless_uniform(action.shape, seed, 0, 2, tf.int32), record, state

    def play(jit_compile):
        driver = Driver(
            Pushing(), make("tf/CartPole-v1", 3), steps=60, sequence_length=20, seed=5, jit_compile=jit_compile
        )
        return tf.function(driver.collect, autograph=False)()

    compiled, plain = play(True), play(False)
    assert tf.reduce_sum(tf.cast(compiled.ended, tf.int32)) > 3
    assert compiled.observation.shape == plain.observation.shape == (60, 3, 4)
    assert np.array_equal(
        compiled.record["seen"][compiled.is_first], np.ones(int(tf.math.count_nonzero(compiled.is_first)))
    )


def test_statistics_follow_episodes_across_rollouts():
    statistics = EpisodeStatistics(2)
    reports = [statistics.update(r.reward, r.valid, r.ended) for r in collect("NextStep", 5, 2)]
    # first rollout: 1+2+3 of environment 0 and 1 of environment 1; second: 11+12 and 21+22+23, 11+...+14, 21
    assert [float(report["return"]) for report in reports] == [7, 23 + 66 + 50 + 21]
    assert [float(report["length"]) for report in reports] == [4, 2 + 3 + 4 + 1]
    assert [float(report["episodes"]) for report in reports] == [2, 4]


def test_the_next_rollout_is_collected_only_when_it_is_asked_for():
    collected, prepared = tf.Variable(0), tf.Variable(0)

    def collect():
        return collected.assign_add(1)

    def prepare(rollout):
        prepared.assign(rollout)
        return 10 * rollout

    source = iter(rollout_source(collect, prepare))
    assert int(collected.numpy()) == 0
    for k in (1, 2, 3):
        assert int(next(source)) == 10 * k
        assert (int(collected.numpy()), int(prepared.numpy())) == (k, k)
