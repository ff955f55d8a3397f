"""Whole episodes from scripted environments: exact rows, in every autoreset mode, over consecutive rollouts."""

import numpy as np
import pytest
import tensorflow as tf
from counting import CountingAgent, scripted

from keras_rl_prob.drivers import EpisodeDriver, EpisodeStatistics
from keras_rl_prob.envs import make

# Every `collect` resets, as the driver's constructor does: the first one plays the episodes 1, the faster
# environments then start the episodes 2, and the second `collect` plays the episodes 3.
SCRIPTS = [
    [(1, "terminated"), (2, "truncated"), (9, "terminated"), (5, "terminated")],
    [(1, "terminated"), (4, "terminated"), (9, "terminated"), (7, "truncated")],  # cut off after 5 rows
    [(1, "terminated"), (1, "terminated"), (9, "terminated"), (5, "truncated")],
]
MODES = ["NextStep", "SameStep", "Disabled"]


def driver_of(env, steps, seed=1, sequence_length=None, jit_compile=False, agent=None):
    return EpisodeDriver(
        agent or CountingAgent(),
        env,
        steps=steps,
        sequence_length=sequence_length or steps,
        seed=seed,
        jit_compile=jit_compile,
    )


def collected(driver, rollouts):
    """Consecutive rollouts as NumPy."""
    collect = tf.function(driver.collect, autograph=False)
    return [tf.nest.map_structure(lambda x: x.numpy(), collect()) for _ in range(rollouts)]


def table(x):
    """`[T, B]` as one list for each environment."""
    return np.asarray(x).T.astype(float).tolist()


@pytest.mark.parametrize("mode", MODES)
def test_first_episodes_are_exact_over_two_rollouts(mode):
    first, second = collected(driver_of(scripted(mode, SCRIPTS), 5), 2)
    assert table(first.valid) == [[1, 1, 0, 0, 0], [1, 1, 1, 1, 0], [1, 0, 0, 0, 0]]
    assert table(first.ended) == [[0, 1, 0, 0, 0], [0, 0, 0, 1, 0], [1, 0, 0, 0, 0]]
    assert table(first.reward) == [[11, 12, 0, 0, 0], [11, 12, 13, 14, 0], [11, 0, 0, 0, 0]]
    assert table(first.discount * first.valid) == [[1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]
    assert table(second.valid) == [[1, 1, 1, 1, 1]] * 3
    assert table(second.ended) == [[0, 0, 0, 0, 1]] * 3
    assert table(second.reward) == [[31, 32, 33, 34, 35]] * 3
    assert table(second.discount) == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]]
    for rollout, episode in ((first, 1), (second, 3)):
        valid = rollout.valid
        steps = np.broadcast_to(np.arange(5.0)[:, None], (5, 3))
        assert np.array_equal(rollout.observation[valid][:, 1], np.full(valid.sum(), episode))
        assert np.array_equal(rollout.observation[valid][:, 2], steps[valid])
        assert np.array_equal(rollout.record["seen"][valid], steps[valid] + 1)
        assert np.array_equal(rollout.state[0], np.zeros((1, 3)))


def test_next_step_rows_after_an_episode_go_on_with_its_final_observation():
    first, second = collected(driver_of(scripted("NextStep", SCRIPTS), 5), 2)
    assert table(first.is_first) == [[1, 0, 0, 1, 0], [1, 0, 0, 0, 0], [1, 0, 1, 0, 0]]
    assert table(second.is_first) == [[1, 0, 0, 0, 0]] * 3
    assert first.observation[:, 0, 1:].tolist() == [[1, 0], [1, 1], [1, 2], [2, 0], [2, 1]]
    assert first.final_value == second.final_value == ()
    assert second.next_step.observation.tolist() == [[0, 3, 5], [1, 3, 5], [2, 3, 5]]


@pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
def test_environments_that_reset_within_the_step_give_final_values_also_of_what_was_cut_off(mode):
    first, second = collected(driver_of(scripted(mode, SCRIPTS), 5), 2)
    assert table(first.is_first) == [[1, 0, 1, 0, 0], [1, 0, 0, 0, 1], [1, 1, 0, 0, 0]]
    assert table(second.is_first) == [[1, 0, 0, 0, 0]] * 3
    # where truncated or cut off: 100 + rows seen in the episode + a tenth of the final observation's step; else 0
    nothing = [0.0] * 5
    np.testing.assert_allclose(first.final_value.T, [[0, 102.2, 0, 0, 0], nothing, nothing], rtol=1e-6)
    np.testing.assert_allclose(second.final_value.T, [nothing, [0, 0, 0, 0, 105.5], [0, 0, 0, 0, 105.5]], rtol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_only_the_first_of_many_short_episodes_counts(mode):
    scripts = [[(1, "terminated")], [(2, "truncated")]]
    first, second = collected(driver_of(scripted(mode, scripts), 7), 2)
    assert table(first.reward) == [[11, 0, 0, 0, 0, 0, 0], [11, 12, 0, 0, 0, 0, 0]]
    for rollout in (first, second):
        assert table(rollout.valid) == [[1, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0]]
        assert table(rollout.ended) == [[1, 0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0]]
        assert np.array_equal(rollout.reward != 0.0, rollout.valid)


def test_statistics_have_one_episode_of_each_environment():
    statistics = EpisodeStatistics(3)
    rollouts = collected(driver_of(scripted("NextStep", SCRIPTS), 5), 2)
    reports = [statistics.update(r.reward, r.valid, r.ended) for r in rollouts]
    assert [float(report["return"]) for report in reports] == [23 + 50 + 11, 3 * 165]
    assert [float(report["length"]) for report in reports] == [2 + 4 + 1, 3 * 5]
    assert [float(report["episodes"]) for report in reports] == [3, 3]


class Pushing(CountingAgent):
    """Takes random actions and records them."""

    def act(self, observation, is_first, state, seed):
        action = tf.random.stateless_uniform(is_first.shape, seed, 0, 2, tf.int32)
        return action, {"action": action}, state


@pytest.mark.parametrize("jit_compile", [True, False])
def test_native_episodes_are_what_stepping_the_environment_gives(jit_compile):
    env = make("tf/CartPole-v1", 6)
    driver = driver_of(env, 30, jit_compile=jit_compile, agent=Pushing())
    lengths = []
    for _ in range(2):
        env_state, step = env.reset(driver.key + [1, 0])
        (rollout,) = collected(driver, 1)
        alive, rows = np.ones(6, bool), []
        for t in range(30):
            observation = step.observation.numpy()
            env_state, step = env.step(env_state, tf.constant(rollout.record["action"][t]))
            np.testing.assert_allclose(rollout.observation[t][alive], observation[alive], atol=1e-4)
            rows.append((alive, alive & (step.is_last.numpy() | (t == 29)), step.reward.numpy() * alive))
            np.testing.assert_array_equal(rollout.discount[t][alive], step.discount.numpy()[alive])
            alive = alive & ~step.is_last.numpy()
        for got, expected in zip((rollout.valid, rollout.ended, rollout.reward), zip(*rows, strict=True), strict=True):
            np.testing.assert_array_equal(got, np.stack(expected))
        assert rollout.is_first[0].all()
        lengths += rollout.valid.sum(0).tolist()
    assert min(lengths) < 29, "no episode ended by itself"
    assert max(lengths) == 30, "no episode was cut off"


def test_the_key_alone_determines_a_rollout():
    def fresh(seed):
        return driver_of(make("tf/CartPole-v1", 4), 20, seed=seed, agent=Pushing())

    driver, same, other = fresh(3), fresh(3), fresh(4)
    first, second = collected(driver, 2)
    tf.nest.map_structure(np.testing.assert_array_equal, collected(same, 1)[0], first)
    assert not np.array_equal(first.observation[0], second.observation[0])
    assert not np.array_equal(first.record["action"], second.record["action"])
    assert not np.array_equal(first.observation[0], collected(other, 1)[0].observation[0])
    (key,) = other.variables
    key.assign(fresh(3).key + [0, 20])  # the state after one rollout
    tf.nest.map_structure(np.testing.assert_array_equal, collected(other, 1)[0], second)
