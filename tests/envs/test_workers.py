"""Worker processes of `AsyncVectorEnv`: any failure in one of them soon stops training with an error message."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.vector.async_vector_env import _async_worker

import keras_rl_prob as krp
from keras_rl_prob.envs import GymnasiumEnv
from keras_rl_prob.envs.processes import workers
from keras_rl_prob.envs.processes.workers import workers_of

pytestmark = pytest.mark.filterwarnings("ignore:.*ERROR")  # Gymnasium's, of the worker


class Unpicklable(Exception):
    """Holds a lock."""

    def __init__(self, message):
        super().__init__(message)
        self.lock = threading.Lock()


class OfTwo(Exception):
    """Can be pickled, but not unpickled."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


class Rebuilt(OfTwo):
    """Can be pickled and unpickled, but not created from one argument, as Gymnasium does."""

    def __reduce__(self):
        return Rebuilt, ("salt", "pepper")


class Silent(Exception):
    """An exception that cannot be pickled and has no message."""

    def __init__(self):
        self.lock = threading.Lock()

    def __str__(self):
        raise ZeroDivisionError


class Troubled(gymnasium.Env):
    """Does `trouble()` at its third step, or at its first reset."""

    observation_space, action_space = spaces.Box(-1.0, 1.0, (2,)), spaces.Discrete(2)

    def __init__(self, trouble=None, at=3):
        self.trouble, self.at, self.steps = trouble, at, 0

    def reset(self, *, seed=None, options=None):
        if self.trouble and self.at == 0:
            self.trouble()
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.trouble and self.steps == self.at:
            self.trouble()
        return np.zeros(2, np.float32), 1.0, False, self.steps % 10 == 0, {}


def raising(make):
    def trouble():
        raise make()

    return trouble


def hang():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1000)


def quit_silently(*args):
    """Worker 1 reports an exception, but not which one."""
    index, _, pipe, *_ = args
    while pipe.recv()[0] == "_check_spaces":
        pipe.send(((True, True), True))
    pipe.send((((), {}), index != 1))
    if index != 1:
        pipe.recv()


def vector(trouble, at=3, wrapped=False, **arguments):
    env = AsyncVectorEnv([Troubled, lambda: Troubled(trouble, at), Troubled], **arguments)
    return gymnasium.vector.VectorWrapper(env) if wrapped else env


def fit(env, eagerly=True):
    agent = krp.PPO(rollout_steps=4, minibatches=2, update_epochs=1)
    agent.compile(run_eagerly=eagerly, jit_compile=False)
    agent.fit(env, steps_per_epoch=2, verbose=0)


def raised_within(seconds, function, *args):
    """The exception of `function`; the test fails if it hangs."""
    raised = []

    def run():
        try:
            function(*args)
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it hangs"
    return raised[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Unpicklable("the lock is stuck"),
            r"Worker 1 raised .*Unpicklable: the lock is stuck \(.*'_thread.lock'",
        ),
        (lambda: OfTwo("salt", "pepper"), r"Worker 1 raised .*OfTwo: salt and pepper \(.*positional argument"),
        (lambda: Rebuilt("salt", "pepper"), r"Worker 1 raised .*Rebuilt: salt and pepper \("),
        (lambda: type("Local", (Exception,), {})("here"), r"Worker 1 raised .*Local: here \("),
        (
            lambda: UnicodeDecodeError("utf-8", b"x", 0, 1, "no letter"),
            r"Worker 1 raised UnicodeDecodeError: .*no letter",
        ),
        (Silent, r"Worker 1 raised .*Silent: "),
    ],
)
def test_an_exception_that_cannot_leave_its_process_is_told(make, message):
    env = vector(raising(make))
    error = raised_within(60, fit, env)
    assert type(error) is RuntimeError
    with pytest.raises(RuntimeError, match=message):
        raise error
    assert "Its worker processes have ended: create it again" in error.__notes__[0]
    assert env.closed
    assert not any(process.is_alive() for process in env.processes)


@pytest.mark.parametrize(
    ("at", "wrapped", "mode"),
    [(0, False, AutoresetMode.NEXT_STEP), (3, True, AutoresetMode.SAME_STEP), (3, False, AutoresetMode.DISABLED)],
)
def test_it_is_told_in_graphs_in_resets_in_wrappers_and_in_every_mode(at, wrapped, mode):
    env = vector(raising(lambda: Unpicklable("stuck")), at, wrapped, autoreset_mode=mode)
    assert "Worker 1 raised" in str(raised_within(60, fit, env, False))
    env.close()


def test_a_process_that_is_spawned_tells_it_too():
    env = AsyncVectorEnv([Spawned], context="spawn")  # one process: each imports everything
    error = raised_within(120, fit, env)
    assert "Worker 0 raised" in str(error)
    assert "Unpicklable: spawned" in str(error)


class Spawned(Troubled):
    """Can be created in a process that imports only this module."""

    def __init__(self):
        super().__init__(raising(lambda: Unpicklable("spawned")))


def test_other_exceptions_come_as_themselves_and_end_the_workers():
    env = vector(raising(lambda: KeyError("where")))
    error = raised_within(60, fit, env)
    assert type(error) is KeyError
    assert "where" in str(error)
    assert env.closed
    assert isinstance(raised_within(60, fit, env), gymnasium.error.ClosedEnvironmentError)


@pytest.mark.parametrize(("at", "wrapped"), [(0, False), (3, True)])
def test_a_worker_that_hangs_is_named_and_ended(wrapped, at):
    env = vector(hang, at, wrapped)
    error = raised_within(60, fit, GymnasiumEnv(env, timeout=1.5))
    assert isinstance(error, TimeoutError)
    assert "must answer within `timeout`=1.5 seconds. Received: nothing from worker 1" in str(error)
    assert "AsyncVectorEnv" in error.__notes__[0]
    assert env.closed
    assert not any(process.is_alive() for process in env.unwrapped.processes)


def test_workers_that_answer_in_time_are_left_alone():
    env = vector(lambda: time.sleep(0.3))
    adapter = GymnasiumEnv(env, timeout=30)
    assert "step_wait" not in vars(env)
    fit(adapter)
    fit(adapter)
    assert not {"step_wait", "reset_wait"} & set(vars(env))
    assert not env.closed
    env.step(np.zeros(3, int))
    env.close()


def test_a_worker_that_does_not_say_what_it_raised_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(workers, "SECONDS_TO_REPORT", 0.5)
    env = vector(None, worker=quit_silently)
    with pytest.raises(
        RuntimeError, match=r"must report the exception that ended it. Received: nothing from worker 1; see"
    ):
        raise raised_within(60, fit, env)
    assert env.closed


def test_workers_of_ones_own_are_asked_nothing_that_they_do_not_know():
    env = vector(None, worker=_async_worker)
    fit(env)
    env.close()


@pytest.mark.parametrize("timeout", [0, -1.0, "soon", True])
def test_timeouts_that_are_none(timeout):
    env = vector(None)
    with pytest.raises(ValueError, match=r"`timeout` must be a positive number, or `None`. Received: timeout="):
        GymnasiumEnv(env, timeout=timeout)
    env.close()


def test_only_processes_have_a_timeout():
    with pytest.raises(ValueError, match=r"`timeout` must be None without worker processes.*Received: timeout=3"):
        GymnasiumEnv(SyncVectorEnv([Troubled]), timeout=3)


def test_what_happens_in_a_later_training_is_told_too():
    env = vector(raising(lambda: Unpicklable("stuck")), at=1)
    for training in (workers_of(env), workers_of(env)):
        training.call(env.reset)
    with pytest.raises(RuntimeError, match="Worker 1 raised"):
        training.call(env.step, np.zeros(3, int))
    assert env.closed


@pytest.fixture
def answering():
    """Handles Ctrl-C as in a terminal; processes in the background ignore it."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


@pytest.mark.parametrize("reaches", ["this process", "all", "workers"])
def test_ctrl_c_in_the_middle_of_a_step_ends_the_workers(answering, reaches):
    env = vector(lambda: time.sleep(0.6), at=1)
    calls = workers_of(env)
    calls.call(env.reset)

    def interrupt():
        for process in env.processes if reaches != "this process" else ():
            os.kill(process.pid, signal.SIGINT)
        if reaches != "workers":
            os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.3, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        calls.call(env.step, np.zeros(3, int))
    timer.join()
    assert env.closed
    assert not any(process.is_alive() for process in env.processes)
    assert not {"step_wait", "reset_wait"} & set(vars(env))
    GymnasiumEnv(env).close()
    with pytest.raises(gymnasium.error.ClosedEnvironmentError) as caught:
        fit(env)
    assert "Its worker processes have ended: create it again" in caught.value.__notes__[0]


KILLED = """
import os, signal
import keras_rl_prob as krp
from keras_rl_prob.envs.processes.separate import SeparateEnv

envs, other = krp.envs.in_processes("CartPole-v1", 3, num_envs=3)(), SeparateEnv("CartPole-v1")
other.reset(seed=0)
print(envs.reset(seed=0)[0].shape, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""

KILLED_IN_STEP = """
import os, signal, threading, time
import gymnasium, numpy
import keras_rl_prob as krp
from keras_rl_prob.envs.processes.separate import SeparateEnv
from keras_rl_prob.envs.processes.workers import Workers

class Hanging(gymnasium.Wrapper):
    def step(self, action):
        time.sleep(3600)

envs = krp.envs.in_processes(lambda: Hanging(gymnasium.make("CartPole-v1")), 3, num_envs=3)()
workers, never_made = Workers(envs), gymnasium.envs.registration.EnvSpec("Hanging-v0", "signal:pause")
print(workers.call(lambda: envs.reset(seed=0))[0].shape, flush=True)
threading.Thread(target=SeparateEnv, args=[never_made], daemon=True).start()
threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGKILL)).start()
workers.call(envs.step, numpy.zeros(3, int))
"""


@pytest.mark.parametrize("program", [KILLED, KILLED_IN_STEP], ids=["waiting", "in a step that hangs"])
def test_workers_end_with_a_process_that_was_killed(program):
    """They have its standard output, too, which ends when all of them have ended."""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.communicate(timeout=240)[0] == b"(3, 4)\n"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
