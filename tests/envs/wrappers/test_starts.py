"""`RandomStart` and `FireReset`: the actions that the environment gets within a reset."""

import collections

import gymnasium
import numpy as np
import pytest
from scripts import Lives, Script, counting, numbers

from keras_rl_prob.envs import FireReset, RandomStart
from keras_rl_prob.envs.wrappers import starts


def test_the_number_of_random_actions_is_uniform_below_max_steps():
    env = RandomStart(counting(10), 4)
    starts = [int(env.reset(seed=seed)[0][0]) for seed in range(400)]
    counts = collections.Counter(starts)
    assert sorted(counts) == [0, 1, 2, 3]
    assert min(counts.values()) > 70  # of 100 expected; four standard deviations are 35


def test_actions_are_random_and_the_episode_goes_on_behind_them():
    env = RandomStart(counting(50), 40)
    observation, _ = env.reset(seed=1)
    taken = env.unwrapped.log[1:]
    assert len(taken) == observation[0] > 10
    assert set(taken) == {0, 1, 2}
    assert env.step(0)[0] == observation + 1


def test_no_action_at_all():
    env = RandomStart(counting(5), 1)
    for _ in range(20):
        env.reset()
    assert set(env.unwrapped.log) == {"reset"}


def test_seeds_reproduce():
    def make():
        return RandomStart(gymnasium.make("Pendulum-v1"), 30)

    def episodes(env, seed):
        return [env.reset(seed=seed if i == 0 else None)[0].tolist() for i in range(3)]

    env = make()
    first = episodes(env, 5)
    assert episodes(env, 5) == first == episodes(make(), 5)
    assert episodes(env, 6) != first
    assert len({str(x) for x in first}) == 3


def test_the_actions_of_the_user_stay_as_seeded():
    env = RandomStart(gymnasium.make("CartPole-v1"), 8)
    env.action_space.seed(3)
    expected = [env.action_space.sample() for _ in range(20)]
    env.action_space.seed(3)
    got = []
    for _ in range(20):
        env.reset()
        got.append(env.action_space.sample())
    assert got == expected


@pytest.mark.parametrize("ends", ["terminated", "truncated"])
def test_a_start_that_ends_the_episode_is_taken_again(ends):
    env = RandomStart(counting(2, ends=ends), 10)
    for seed in range(20):
        observation, _ = env.reset(seed=seed)
        assert observation[0] in (0, 1)
    log = env.unwrapped.log
    assert "reset" in log  # that is, it happened: a second attempt comes without the seed
    assert [entry for entry in log if str(entry).startswith("reset(")] == [f"reset({seed})" for seed in range(20)]


def test_options_reach_every_attempt():
    class Options(Lives):
        seen = ()

        def reset(self, *, seed=None, options=None):
            self.seen += (options,)
            return super().reset(seed=seed, options=options)

    env = RandomStart(Options(), 60)
    env.reset(seed=0, options={"level": 2})
    assert len(env.env.seen) > 1
    assert set(map(str, env.env.seen)) == {"{'level': 2}"}


def test_an_environment_that_cannot_be_started(monkeypatch):
    monkeypatch.setattr(starts, "ATTEMPTS", 7)
    env = FireReset(counting(2), actions=[1, 1, 1])
    message = r"`env` must outlast the actions .*Received: <FireReset<Script instance>>.*all of 7 attempts"
    with pytest.raises(RuntimeError, match=message):
        env.reset()
    assert env.unwrapped.log == ["reset", 1, 1] * 7


def test_fire_and_the_action_behind_it():
    env = FireReset(Lives())
    assert env.actions == [1, 2]
    observation, info = env.reset(seed=0)
    assert (observation[1], info["lives"]) == (2, 3)


def test_fire_may_be_the_last_action():
    class Shooter(Script):
        def get_action_meanings(self):
            return ["NOOP", "LEFT", "FIRE"]

    env = FireReset(Shooter(numbers(), [[np.zeros(1, np.float32)] * 5]))
    env.reset()
    env.step(0)
    env.reset()
    assert env.unwrapped.log == ["reset", 2, 0, "reset", 2]


def test_given_actions_are_taken_in_order_again_after_an_early_end():
    env = FireReset(counting(2, 9), actions=(2, 0, 1))
    observation, _ = env.reset(seed=4)
    assert env.unwrapped.log == ["reset(4)", 2, 0, "reset", 2, 0, 1]
    np.testing.assert_array_equal(observation, [3])


@pytest.mark.parametrize(
    ("space", "action"),
    [
        (gymnasium.spaces.Box(-1, 1, (2,)), [0, 0.5]),
        (gymnasium.spaces.MultiDiscrete([3, 4]), [2, 3]),
        (gymnasium.spaces.Tuple([gymnasium.spaces.Discrete(2)] * 2), (1, 0)),
    ],
)
def test_actions_of_other_spaces(space, action):
    env = FireReset(counting(9, action_space=space), actions=[action])
    env.reset()
    assert space.contains(env.unwrapped.log[1])
    assert list(env.unwrapped.log[1]) == list(action)


@pytest.mark.parametrize("max_steps", [0, -1, 2.0, True, None, "3"])
def test_max_steps(max_steps):
    with pytest.raises(ValueError, match=rf"`max_steps` must be a positive integer. Received: max_steps={max_steps!r}"):
        RandomStart(counting(1), max_steps)


@pytest.mark.parametrize(
    ("env", "actions", "message"),
    [
        (
            counting(1),
            None,
            r"`env` must have FIRE .*`FireReset\(env, actions=\[1\]\)`. Received: env=<Script.*meanings \[\]",
        ),
        (counting(1), [], r"`actions` must be a sequence of at least one action. Received: actions=\[\]"),
        (counting(1), 1, r"`actions` must be a sequence .*Received: actions=1"),
        (counting(1), [1, 3], r"`actions\[1\]` must be in the action space Discrete\(3\). Received: actions\[1\]=3"),
        (gymnasium.make("Pendulum-v1"), [[9.0]], r"`actions\[0\]` must be in .*Box.*Received: actions\[0\]=\[9.0\]"),
        (gymnasium.make("Pendulum-v1"), ["up"], r"`actions\[0\]` must be in .*Received: actions\[0\]='up'"),
        (counting(1, action_space=gymnasium.spaces.MultiDiscrete([3])), [[1.5]], r"must be in .*=\[1.5\]"),
    ],
)
def test_errors_of_actions(env, actions, message):
    with pytest.raises(ValueError, match=message):
        FireReset(env, actions)


def test_atari():
    ale_py = pytest.importorskip("ale_py")
    gymnasium.register_envs(ale_py)
    with pytest.raises(ValueError, match=r"`env` must have FIRE .*action meanings \['NOOP', 'UP', 'DOWN'\]"):
        FireReset(gymnasium.make("ALE/Freeway-v5"))
    breakout = FireReset(gymnasium.make("ALE/Breakout-v5"))
    assert breakout.actions == [1, 2]  # FIRE, RIGHT
    assert breakout.reset(seed=0)[1]["frame_number"] == 8  # two actions of four frames
