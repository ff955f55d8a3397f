"""Collectors in processes of their own: one small Ray for all tests of this file."""

import contextlib
import os
import pathlib
import signal
import sys
import threading
import time

import pytest
import tensorflow as tf
from gymnasium.envs.classic_control import CartPoleEnv
from runs import GYMNASIUM, NATIVE, a2c, a3c, compiled, impala, run, same, source_of, train

from keras_rl_prob.distributed import RayCollectors, fit_learners
from keras_rl_prob.distributed.engine import RayEngine

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster():
    """Ray with place for two collectors, which belongs to the tests."""
    optimized = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})  # as in the collectors
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_prestart_worker_first_driver", "0")
        ray.init(
            address="local", num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", logging_level="ERROR"
        )
    yield ray
    ray.shutdown()
    tf.config.optimizer.set_experimental_options(optimized)


def processes():
    """Numbers of the processes of collectors among the descendants of this process."""
    parents, found = {}, []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            folder = pathlib.Path("/proc", name)
            parents[int(name)] = int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            if "ray::Process" in folder.joinpath("cmdline").read_text():
                found.append(int(name))

    def is_ours(number):
        return number == os.getpid() or (number in parents and is_ours(parents[number]))

    return sorted(filter(is_ours, found))


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


class Strange(Exception):
    """An exception that cannot be rebuilt from its arguments."""

    def __init__(self, one, two):
        super().__init__(one)


class Raising(CartPoleEnv):
    def step(self, action):
        raise Strange("no such drawer", 2)


def test_a_process_trains_as_the_agent_does_itself_and_ends(cluster, capfd):
    expected = run(a2c, GYMNASIUM)
    assert same(expected, run(a2c, GYMNASIUM, 1))
    assert wait_for(lambda: not processes())
    assert ray.is_initialized()
    text = capfd.readouterr()
    assert "Process pid" not in text.out + text.err  # no messages of TensorFlow


class Slow:
    """Its deletion takes a minute."""

    def __init__(self, begun):
        self._begun = begun

    def __del__(self):
        self._begun.touch()
        time.sleep(60)

    def delete(self):
        Slow(self._begun)


def test_a_process_that_ray_ends_says_nothing(cluster, tmp_path, capfd):
    with contextlib.closing(RayEngine(1, 1)) as engine:
        collector = engine.hire(Slow, tmp_path / "begun")
        engine.call(collector, "delete")
        assert wait_for((tmp_path / "begun").exists)
        os.kill(processes()[0], signal.SIGTERM)
        assert wait_for(lambda: not processes())
    time.sleep(1.0)  # until what a process says would be here
    text = capfd.readouterr()
    assert "Process pid" not in text.out + text.err


@pytest.mark.long  # test_faults.py has it without processes
def test_a_killed_process_is_replaced_and_nothing_changes(cluster, request):
    def collected(kills=None):
        with contextlib.ExitStack() as stack:
            driver = source_of(compiled(a2c), NATIVE, RayCollectors(2), stack).driver
            rollouts = []
            for number in range(3):
                if number == kills:
                    os.kill(processes()[0], signal.SIGKILL)
                rollouts.append(driver.collect().observation.numpy().tolist())
            return rollouts, float(driver.metrics[1].result())

    received, restarts = collected(1)
    request.getfixturevalue("engine")
    expected, none = collected()
    assert (none, restarts) == (0.0, 1.0)
    assert received == expected


@pytest.mark.long  # test_faults.py has it without processes
def test_the_exception_of_an_environment_comes_out_and_no_process_is_left(cluster):
    with pytest.raises(RuntimeError, match=r"collector 0 raised .*no such drawer") as raised:
        train(compiled(a2c), Raising, 1)
    assert not isinstance(raised.value, ray.exceptions.RayError)
    assert wait_for(lambda: not processes())


@pytest.mark.long  # test_asynchronous.py and test_gradients.py have it without processes
@pytest.mark.parametrize("make", [impala, a3c])
def test_rollouts_arrive_without_order_and_are_learned_from(cluster, make):
    history = train(compiled(make), NATIVE, RayCollectors(2), rollouts=12)
    assert history["env_steps"][-1] > 100
    assert max(history["policy_lag"]) <= 20.0
    assert history["dropped_rollouts"] == history["collector_restarts"] == [0.0, 0.0]


@pytest.mark.long  # test_learners.py has it without processes
def test_learners_are_averaged_and_end(cluster):
    history = fit_learners(compiled(a2c), GYMNASIUM, 2, 2, 4, num_envs=4, seed=5).history
    assert history["env_steps"][-1] > 2 * 100
    assert wait_for(lambda: not processes())


def test_an_environment_that_cannot_be_pickled_is_named(cluster):
    lock = threading.Lock()

    def make():
        return CartPoleEnv() if lock else None

    with pytest.raises(TypeError, match="pass an id, or a callable that makes the environment there"):
        train(compiled(a2c), make, 1)


def test_collectors_without_a_place_are_named_with_what_is_free(cluster, monkeypatch):
    monkeypatch.setattr("keras_rl_prob.distributed.engine.PATIENCE", 0.1)
    assert wait_for(lambda: ray.available_resources().get("CPU") == 2), "of the test before"
    with pytest.raises(TimeoutError, match=r"no place for 1 collectors of num_cpus=3 .*\. Free: 2 of 2"):
        train(compiled(a2c), NATIVE, RayCollectors(1, num_cpus=3))


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r'pip install "keras_rl_prob\[distributed\]"'):
        train(compiled(a2c), NATIVE, 1)


@pytest.mark.parametrize("address", ["127.0.0.1:9", "localhost:1"])
def test_an_address_where_nothing_answers_is_named(address, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(ConnectionError, match=rf"address='{address}', where nothing answers within 10 seconds"):
        train(compiled(a2c), NATIVE, RayCollectors(1, address=address))
