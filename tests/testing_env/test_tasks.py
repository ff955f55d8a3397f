"""The guessing games: returns of random and perfect play, and that every component of an action matters."""

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from keras_rl_prob.testing import DictTask, HybridTask


def play(env, act, episodes, seed=0):
    """Returns of whole episodes."""
    returns = []
    observation, _ = env.reset(seed=seed)
    env.action_space.seed(seed)
    for _ in range(episodes):
        score, length, done = 0.0, 0, False
        while not done:
            assert env.observation_space.contains(observation)
            observation, reward, terminated, truncated, _ = env.step(act(observation))
            assert 0.0 <= reward <= 1.0
            assert isinstance(reward, float)
            score, length, done = score + reward, length + 1, terminated or truncated
        assert terminated
        assert not truncated
        assert length == 10
        returns.append(score)
        observation, _ = env.reset()
    return returns


def perfect_hybrid(shown):
    return shown["target"], shown["tool"]


def perfect_dict(shown):
    positive = int(shown["real"][0] > 0)
    answer = np.array([(shown["inner"]["number"] + positive) % 4, positive])
    return {"answer": answer, "flags": shown["inner"]["flags"]}


@pytest.mark.parametrize(("task", "act"), [(HybridTask, perfect_hybrid), (DictTask, perfect_dict)])
def test_perfect_play_earns_ten(task, act):
    assert play(task(), act, 20) == pytest.approx([10.0] * 20)


# With tool t of 3 right and a pointer p and target g uniform on [-1, 1]: E max(0, 1 - |p - g|) = 5 / 12, a third of it.
# Sum modulo 4, sign and two flags are right with probabilities 1/4, 1/2, 1/2, 1/2, a quarter of the reward each.
@pytest.mark.parametrize(("task", "expected"), [(HybridTask, 10 * 5 / 12 / 3), (DictTask, 10 * 1.75 / 4)])
def test_uniformly_random_play_earns_what_the_docstring_says(task, expected):
    env = task()
    returns = play(env, lambda shown: env.action_space.sample(), 400)
    assert np.mean(returns) == pytest.approx(expected, abs=4 * np.std(returns) / 20)
    assert f"random actions get about {expected:.1f}" in " ".join(task.__doc__.split())


def test_every_part_of_a_hybrid_action_counts():
    env = HybridTask()
    shown = {"target": np.array([0.25], np.float32), "tool": np.int64(2)}
    scores = {
        (pointer, tool): env._score(shown, (np.array([pointer], np.float32), tool))
        for pointer in (0.25, -0.25, 0.75, -1.0)
        for tool in (1, 2)
    }
    assert {key: float(score) for key, score in scores.items()} == {
        (0.25, 2): 1.0,
        (-0.25, 2): 0.5,
        (0.75, 2): 0.5,
        (-1.0, 2): 0.0,
        (0.25, 1): 0.0,
        (-0.25, 1): 0.0,
        (0.75, 1): 0.0,
        (-1.0, 1): 0.0,
    }


def test_every_part_of_a_dict_action_counts_a_quarter():
    env = DictTask()
    for seed in range(20):
        env.observation_space.seed(seed)
        shown = env.observation_space.sample()
        right = perfect_dict(shown)
        assert env._score(shown, right) == 1.0
        for part, index, size in (("answer", 0, 4), ("answer", 1, 2), ("flags", 0, 2), ("flags", 1, 2)):
            wrong = {key: value.copy() for key, value in right.items()}
            wrong[part][index] = (wrong[part][index] + 1) % size
            assert env._score(shown, wrong) == 0.75


@pytest.mark.parametrize("task", [HybridTask, DictTask])
def test_the_seed_decides_everything_shown(task):
    def shown(seed):
        env = task()
        rows = [env.reset(seed=seed)[0]]
        env.action_space.seed(1)
        rows += [env.step(env.action_space.sample())[0] for _ in range(9)]
        return str([*rows, env.reset()[0]])

    assert shown(3) == shown(3)
    assert shown(3) != shown(4)


@pytest.mark.parametrize("task", [HybridTask, DictTask])
@pytest.mark.filterwarnings("ignore::UserWarning")  # the checker warns about a missing spec and about Box(-1, 1)
def test_environment_checker_passes(task):
    check_env(task(), skip_render_check=True)
