"""`EpisodicLife` and `FinalReward`: when episodes end, what continues, and the reward of the end."""

import gymnasium
import numpy as np
import pytest
from scripts import Script, counting

from keras_rl_prob.envs import EpisodicLife, FinalReward

NOOP = 0


def game(*lives, **kwargs):
    """Games with these lives after the reset and each step."""
    return EpisodicLife(counting(*(len(one) - 1 for one in lives), lives=lives, **kwargs), noop=NOOP)


def ends(env, steps):
    """`(terminated, truncated)` of steps with action 1; resets behind each end."""
    seen = []
    for _ in range(steps):
        seen.append(env.step(1)[2:4])
        if any(seen[-1]):
            env.reset()
    return seen


def test_lost_lives_terminate_and_the_game_goes_on():
    env = game([3, 3, 2, 2, 1, 1, 0], [3, 3])
    assert env.reset()[0] == 0
    assert [env.step(1)[2] for _ in range(2)] == [False, True]  # 3, 2
    observation, info = env.reset()
    assert (observation[0], info) == (3, {"lives": 2})  # a no-op later
    assert env.step(1)[2] is True  # 1
    env.reset()
    assert env.step(1)[2:4] == (True, False)  # 0: the game is over
    observation, info = env.reset()
    assert (observation[0], info) == (0, {"lives": 3})
    assert env.unwrapped.log == ["reset", 1, 1, NOOP, 1, NOOP, 1, "reset"]


def test_lives_that_are_won_do_not_terminate():
    env = game([2, 3, 3, 2, 2])
    env.reset()
    assert [end[0] for end in ends(env, 3)] == [False, False, True]


def test_with_no_life_left_the_game_may_go_on():
    env = game([1, 1, 0, 0, 0])
    env.reset()
    assert ends(env, 4) == [(False, False)] * 3 + [(True, False)]
    assert env.unwrapped.log == ["reset", 1, 1, 1, 1, "reset"]


def test_no_op_that_ends_the_game_starts_a_new_one():
    env = game([2, 1, 0], [2, 2, 2])
    env.reset()
    assert env.step(1)[2]
    observation, info = env.reset()
    assert (observation[0], info) == (0, {"lives": 2})
    assert env.unwrapped.log == ["reset", 1, NOOP, "reset"]
    assert env.step(1)[2] is False


def test_no_op_that_costs_a_life_itself():
    env = game([3, 2, 1, 1, 1])
    env.reset()
    env.step(1)
    assert env.reset()[1] == {"lives": 1}
    assert env.step(1)[2] is False


def test_truncation_ends_the_game():
    env = game([3, 3, 3], [3, 3, 3], ends="truncated")
    env.reset()
    assert ends(env, 2) == [(False, False), (False, True)]
    assert env.unwrapped.log == ["reset", 1, 1, "reset"]


def test_truncation_with_a_lost_life_is_both():
    env = game([3, 3, 2], [3, 3, 3], ends="truncated")
    env.reset()
    assert ends(env, 2) == [(False, False), (True, True)]
    assert env.unwrapped.log == ["reset", 1, 1, "reset"]


@pytest.mark.parametrize("arguments", [{"seed": 7}, {"options": {"level": 1}}])
def test_seeds_and_options_ask_for_a_new_game(arguments):
    env = game([3, 2, 2, 2], [3, 3])
    env.reset()
    env.step(1)
    assert env.reset(**arguments)[0] == 0
    assert 0 not in env.unwrapped.log


def test_reset_without_a_lost_life_is_a_new_game():
    env = game([3, 3, 2, 2], [3, 3, 3])
    env.reset()
    env.step(1)
    env.reset()
    assert env.unwrapped.log == ["reset", 1, "reset"]


def test_going_on_happens_once():
    env = game([3, 2, 2, 2], [3, 3])
    env.reset()
    env.step(1)
    env.reset(options={})  # as vector environments without autoreset call it
    env.reset()
    assert env.unwrapped.log == ["reset", 1, NOOP, "reset"]


def test_in_a_vector_environment_that_resets_within_the_step():
    scripts = [[3, 3, 2, 2, 2, 2, 2], [3, 2, 2, 2, 1, 1, 1]]
    vector = gymnasium.vector.SyncVectorEnv(
        [lambda lives=lives: game(lives) for lives in scripts], autoreset_mode="SameStep"
    )
    vector.reset()
    done = [vector.step(np.ones(2, int))[2].tolist() for _ in range(3)]
    assert done == [[False, True], [True, False], [False, True]]
    assert [env.unwrapped.log for env in vector.envs] == [["reset", 1, 1, NOOP, 1], ["reset", 1, NOOP, 1, 1, NOOP]]


def test_noop_of_a_box():
    space = gymnasium.spaces.Box(-1, 1, (2,))
    lives = [[2, 1, 1, 1]]
    env = EpisodicLife(counting(3, lives=lives, action_space=space), noop=[0, 0])
    env.reset()
    env.step(np.ones(2, np.float32))
    env.reset()
    assert env.unwrapped.log[2].tolist() == [0, 0]
    assert space.contains(env.unwrapped.log[2])


def test_noop_by_its_name():
    class Named(Script):
        def get_action_meanings(self):
            return ["LEFT", "RIGHT", "NOOP"]

    bare = counting(1)
    assert EpisodicLife(Named(bare.observation_space, bare.episodes)).noop == 2


def test_errors():
    with pytest.raises(
        ValueError, match=r"`env` must have NOOP .*`EpisodicLife\(env, noop=0\)`. Received: env=<Script"
    ):
        EpisodicLife(counting(1))
    with pytest.raises(ValueError, match=r"`noop` must be in the action space Discrete\(3\). Received: noop=3"):
        EpisodicLife(counting(1), noop=3)
    message = r"`env` must report the lives .*`info\['lives'\]`. Received: env=<Script instance> with an info of {}"
    with pytest.raises(ValueError, match=message):
        EpisodicLife(counting(1), noop=0).reset()


def test_atari():
    ale_py = pytest.importorskip("ale_py")
    gymnasium.register_envs(ale_py)
    env = EpisodicLife(gymnasium.make("ALE/Breakout-v5", repeat_action_probability=0.0))
    _, info = env.reset(seed=0)
    lives, steps = [info["lives"]], 0
    while len(lives) < 7:
        steps += 1
        _, _, terminated, _, _ = env.step(1)  # serves, then does nothing
        if terminated:
            lives.append(env.reset()[1]["lives"])
    assert lives == [5, 4, 3, 2, 1, 5, 4]
    assert steps < 500


@pytest.mark.parametrize(
    ("end", "last"), [("terminated", -7.0), ("truncated", 4.0), ("terminated and truncated", -7.0)]
)
def test_final_reward(end, last):
    env = FinalReward(counting(3, ends=end, rewards=[2.0, 3.0, 4.0]), -7)
    for _ in range(2):
        env.reset()
        assert [env.step(0)[1] for _ in range(3)] == [2.0, 3.0, last]


def test_final_reward_of_each_life():
    env = FinalReward(game([3, 2, 2, 2, 1]), -1.0)
    env.reset()
    assert env.step(1)[1] == -1.0
    env.reset()
    assert [env.step(1)[1], env.step(1)[1]] == [1.0, -1.0]


@pytest.mark.parametrize("reward", [np.nan, np.inf, None, "1", True, [1.0]])
def test_bad_final_reward(reward):
    with pytest.raises(ValueError, match=r"`reward` must be a finite number. Received: reward="):
        FinalReward(counting(1), reward)
