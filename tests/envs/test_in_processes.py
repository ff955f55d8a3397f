"""Environments in worker processes: the same as in this process, errors that name the worker, and no process left behind."""

import functools
import multiprocessing
import os

import gymnasium
import keras
import numpy as np
import pytest
from gymnasium import spaces

import keras_rl_prob as krp
from keras_rl_prob.envs.processes.shared import SharedEnvs

pytestmark = pytest.mark.filterwarnings("ignore:.*ERROR")  # Gymnasium's, of the worker


class Nested(gymnasium.Env):
    """Every kind of space; counts its steps, says in which process, and does `trouble()` at step 3 of its second episode."""

    observation_space = spaces.Dict(
        {
            "numbers": spaces.Tuple([spaces.Box(-9.0, 9.0, (2, 3)), spaces.Discrete(5, start=2)]),
            "bits": spaces.MultiBinary(3),
            "choices": spaces.MultiDiscrete([4, 5]),
            "process": spaces.Box(0, 2**31 - 1, (1,), np.int64),
        }
    )
    action_space = spaces.Dict(
        {"move": spaces.Box(-1.0, 1.0, (2,)), "tools": spaces.Tuple([spaces.Discrete(3), spaces.MultiBinary(2)])}
    )

    def __init__(self, trouble=None):
        self.trouble, self.episodes = trouble, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.episodes = 0, self.episodes + 1
        return self.seen(), {}

    def step(self, action):
        self.steps += 1
        if self.trouble and self.episodes == 2 and self.steps == 3:
            self.trouble()
        reward = float(np.sum(action["move"])) + action["tools"][0] + 10 * int(action["tools"][1][1])
        return self.seen(), reward, self.np_random.random() < 0.1, self.steps == 9, {"ignored": object()}

    def seen(self):
        numbers = self.np_random.normal(size=(2, 3)).clip(-9, 9).astype(np.float32)
        return {
            "numbers": (numbers, 2 + self.steps % 5),
            "bits": np.array([self.steps & 1, 1, 0], np.int8),
            "choices": np.array([self.steps % 4, self.episodes % 5]),
            "process": np.array([os.getpid()]),
        }


def broken():
    raise ZeroDivisionError("the third step")


def die():
    os._exit(3)


def workers():
    return [process for process in multiprocessing.active_children() if process.name.startswith("Worker<")]


def rows(env, seed, steps):
    """Observations, rewards and ends of a vector environment with random actions."""
    env.action_space.seed(0)
    yield env.reset(seed=seed)[0]
    for _ in range(steps):
        yield env.step(env.action_space.sample())[:4]


@pytest.mark.parametrize("processes", [1, 2, 6])
def test_a_thousand_steps_are_those_of_environments_in_this_process(processes):
    here = gymnasium.vector.SyncVectorEnv([Nested] * 6)
    there = krp.envs.in_processes(Nested, processes, num_envs=6)()
    assert (there.observation_space, there.action_space) == (here.observation_space, here.action_space)
    assert there.num_envs == 6
    ends = 0
    for one, other in zip(rows(here, 5, 1000 // 6), rows(there, 5, 1000 // 6), strict=True):
        first, second = (x if isinstance(x, dict) else x[0] for x in (one, other))
        assert len(set(second.pop("process")[:, 0])) == processes
        assert set(first.pop("process")[:, 0]) == {os.getpid()}
        keras.tree.map_structure(np.testing.assert_array_equal, one, other)
        ends += 0 if isinstance(one, dict) else int(np.sum(one[2] | one[3]))
    assert ends > 50
    there.close()
    assert not workers()


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    made = krp.PPO(rollout_steps=16, minibatches=1, update_epochs=1)
    made.compile(run_eagerly=True, jit_compile=False)
    made.build("CartPole-v1")
    path = tmp_path_factory.mktemp("processes") / "before.weights.h5"
    made.save_weights(path)
    return made, path


def test_fit_learns_the_same_and_leaves_no_process(agent):
    weights, make = [], functools.partial(gymnasium.make, "CartPole-v1")
    for processes in (None, 2):
        agent[0].load_weights(agent[1])
        there = []
        note = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs, there=there: there.append(len(workers()))
        )
        agent[0].fit(make, num_envs=4, steps_per_epoch=3, seed=1, verbose=0, env_processes=processes, callbacks=[note])
        assert there == [processes or 0]
        assert not workers()
        weights.append(agent[0].get_weights())
    keras.tree.map_structure(np.testing.assert_array_equal, *weights)


def test_a_list_is_taken_in_turn(agent):
    lengths = [krp.envs.spec("CartPole-v1", max_episode_steps=n) for n in (3, 5)]
    env = krp.envs.in_processes(lengths, 2)
    made = env()
    assert made.num_envs == 32
    made.close()
    env = krp.envs.in_processes(lengths, 2, num_envs=4)()
    ended = [step[3] for step in list(rows(env, 0, 5))[1:]]
    np.testing.assert_array_equal(np.argmax(ended, 0) + 1, [3, 5, 3, 5])
    env.close()


@pytest.mark.parametrize(
    ("trouble", "error", "message"),
    [(broken, ZeroDivisionError, "the third step"), (die, (EOFError, ConnectionError), None)],
)
def test_errors_name_the_worker_and_all_end(trouble, error, message):
    makers = [functools.partial(Nested, trouble if i == 3 else None) for i in range(4)]
    agent = krp.RandomAgent(rollout_steps=40)
    agent.compile(jit_compile=False, run_eagerly=True)
    with pytest.raises(error, match=message) as raised:
        agent.fit(makers, num_envs=4, env_processes=2, verbose=0, seed=0)
    notes = " ".join(raised.value.__notes__)
    assert ", in worker 1 (process " in notes
    assert "call `fit` again" in notes
    assert not workers()


def test_an_environment_that_cannot_be_made_there_says_why():
    learner = os.getpid()

    def make():
        if os.getpid() != learner:
            raise PermissionError("no display")
        return gymnasium.make("CartPole-v1")

    env = krp.envs.make(krp.envs.in_processes(make, 2, num_envs=2))
    with pytest.raises(PermissionError, match="no display"):
        krp.envs.GymnasiumEnv.reset(env, np.array([0, 1], np.int32))
    env.close()
    assert not workers()


@pytest.mark.parametrize(
    ("env", "arguments", "message"),
    [
        (
            "CartPole-v1",
            {"env_processes": -1},
            "`env_processes` must be a positive integer. Received: env_processes=-1",
        ),
        ("CartPole-v1", {"env_processes": True}, "`env_processes` must be a positive integer"),
        ("CartPole-v1", {"env_processes": 3, "num_envs": 4}, "`env_processes` must divide the 4 environments"),
        ("tf/CartPole-v1", {"env_processes": 2}, "native ones and those that are already made stay in this process"),
        (gymnasium.make("CartPole-v1"), {"env_processes": 2}, "already made stay in this process"),
        ("CartPole-v1", {"env_processes": 2, "collectors": object()}, "`collectors` must be"),
    ],
    ids=map(str, range(6)),
)
def test_wrong_numbers_and_environments(agent, env, arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        agent[0].fit(env, verbose=0, **arguments)


def test_collectors_have_processes_of_their_own(agent):
    with pytest.raises(ValueError, match="`env_processes` must be `None` with `collectors` that step their environ"):
        agent[0].fit("CartPole-v1", env_processes=2, collectors=2, verbose=0)


def test_collectors_that_step_the_environments_of_fit_can_have_them_in_worker_processes():
    """Bots in processes: the same rows as without."""

    def memory(env_processes):
        keras.utils.set_random_seed(0)
        settings = krp.ReplaySettings(capacity=200, batch_size=4, learning_starts=4)
        learner = krp.DQN(krp.networks.q_network("CartPole-v1", (4,)), rollout_steps=4, updates=1, replay=settings)
        learner.compile(run_eagerly=True)
        bots = krp.imitation.Bots(lambda observation: int(observation[2] > 0), envs=1)
        learner.fit(
            functools.partial(gymnasium.make, "CartPole-v1"),
            steps_per_epoch=2,
            num_envs=2,
            seed=0,
            verbose=0,
            collectors=bots,
            env_processes=env_processes,
        )
        return learner.get_weights()

    for x, y in zip(memory(None), memory(2), strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_callable_must_make_an_environment():
    with pytest.raises(TypeError, match=r"must make a `gymnasium\.Env`"):
        krp.envs.in_processes(lambda: 3, 2)


def test_a_configuration_has_the_processes():
    config = {"env": {"id": "CartPole-v1", "processes": 2}, "agent": {"class": "PPO"}}
    assert krp.presets.complete(config)["env"]["processes"] == 2
    with pytest.raises(ValueError, match=r"`env\.processes` must be a positive integer, or `None`"):
        krp.presets.check({"env": {"id": "CartPole-v1", "processes": 0}, "agent": {"class": "PPO"}})
    assert SharedEnvs.__name__ in repr(krp.envs.in_processes("CartPole-v1", 2))
