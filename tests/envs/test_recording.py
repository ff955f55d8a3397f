"""`record_episodes` and `play` keep what was seen and done, whatever environments and policies do with their arrays."""

import functools

import gymnasium
import numpy as np
import pytest

import keras_rl_prob as krp


class Counter(gymnasium.Env):
    """Counts its steps in an array that it always returns."""

    observation_space = gymnasium.spaces.Box(0.0, 100.0, (2,), np.float32)
    action_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)
    last = 5

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seen = np.zeros(2, np.float32)
        return self.seen, {}

    def step(self, action):
        self.seen += 1
        return self.seen, 1.0, bool(self.seen[0] >= self.last), False, {}


class Endless(Counter):
    last = 10**9


def growing():
    """A policy that always returns the same array."""
    action = np.zeros(1, np.float32)

    def policy(observation):
        action[0] = observation[0] / 10
        return action

    return policy


def test_arrays_that_are_used_again_are_recorded_as_they_were():
    (episode,) = krp.envs.record_episodes(Counter(), growing())
    np.testing.assert_array_equal(episode.observations[:, 0], np.arange(6))
    np.testing.assert_allclose(episode.actions[:, 0], np.arange(5) / 10)
    (played,) = krp.envs.play(Counter(), growing(), render_mode=None)
    np.testing.assert_allclose(np.ravel(played["actions"]), np.arange(5) / 10)


def test_an_episode_without_an_end_is_truncated_with_a_warning():
    with pytest.warns(UserWarning, match=r"An episode was left after 7 steps, and counts as truncated.*time limit"):
        episodes = krp.envs.record_episodes(Endless(), growing(), episodes=2, max_steps=7)
    for episode in episodes:
        assert episode.truncations.tolist() == [False] * 6 + [True]
        assert not episode.terminations.any()
    with pytest.raises(ValueError, match="`max_steps` must be a positive integer"):
        krp.envs.record_episodes(Endless(), growing(), max_steps=0)


def test_without_a_seed_random_actions_are_those_that_the_user_has_seeded():
    actions = []
    for _ in range(2):
        env = Counter()
        env.action_space.seed(3)
        actions.append(krp.envs.record_episodes(env)[0].actions)
    np.testing.assert_array_equal(*actions)


def test_native_ids_are_played_by_the_environment_of_the_same_physics():
    (episode,) = krp.envs.record_episodes("tf/CartPole-v1", lambda observation: 1, seed=3)
    (same,) = krp.envs.record_episodes("CartPole-v1", lambda observation: 1, seed=3)
    np.testing.assert_array_equal(episode.observations, same.observations)


@pytest.mark.parametrize("play", [krp.envs.record_episodes, krp.envs.play])
def test_an_agent_is_no_policy(play):
    with pytest.raises(TypeError, match=r"`policy` must be `agent.policy\(\)`, not the agent itself"):
        play("CartPole-v1", krp.PPO())


class OldReset(Counter):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class OldStep(Counter):
    def step(self, action):
        observation, reward, *_ = super().step(action)
        return observation, reward, True, {}


class TwoRewards(Counter):
    def step(self, action):
        observation, _, *more = super().step(action)
        return observation, np.ones(2), *more


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (OldReset, "`OldReset.reset` must return a tuple of observation and info.*shimmy"),
        (OldStep, "`OldStep.step` must return a tuple of observation, reward, .*a tuple of 4 values"),
        (TwoRewards, "`TwoRewards.step` must return one real number as reward"),
    ],
)
@pytest.mark.parametrize("play", [krp.envs.record_episodes, functools.partial(krp.envs.play, render_mode=None)])
def test_what_an_environment_must_not_return_is_said(kind, text, play):
    with pytest.raises(ValueError, match=text):
        play(kind, lambda observation: 0)
