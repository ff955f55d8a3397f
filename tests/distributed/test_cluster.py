"""Collectors on a cluster of several nodes, and many of them killed: minutes, so only for `make test-all`."""

import os
import random
import signal
import threading

import keras
import pytest
from runs import NATIVE, a2c, compiled, impala, train
from test_ray import processes, wait_for

from keras_rl_prob.distributed import RayCollectors

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def nodes():
    """A cluster of three nodes with a CPU each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_prestart_worker_first_driver", "0")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        yield cluster
        cluster.shutdown()


class Between(keras.callbacks.Callback):
    """A callback that calls functions at the ends of epochs."""

    def __init__(self, actions=None):
        super().__init__()
        self.actions = actions or {}

    def on_epoch_end(self, epoch, logs=None):
        if epoch in self.actions:
            self.actions[epoch]()


@pytest.mark.parametrize("make", [a2c, impala])
def test_nodes_leave_and_join_in_mid_training(nodes, make):
    agent, node = compiled(make), nodes.add_node(num_cpus=1)
    collectors = RayCollectors(3, num_envs=2, address=nodes.address)
    leaves = Between({1: lambda: nodes.remove_node(node), 2: lambda: nodes.add_node(num_cpus=1)})
    history = train(agent, NATIVE, collectors, rollouts=60, epochs=6, num_envs=None, callbacks=[leaves])
    assert len(history["return"]) == 6
    assert agent.env_steps > 60 * 2
    assert not ray.is_initialized()


@pytest.mark.parametrize("make", [a2c, impala])
def test_training_survives_fifty_kills_at_random_moments(make):
    kills, ended = [], threading.Event()

    def kill():
        chance = random.Random(0)
        while len(kills) < 25 and not ended.wait(chance.uniform(0.0, 3.0)):
            found = processes()
            if found:
                kills.append(chance.choice(found))
                os.kill(kills[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)

    class UntilKilled(Between):
        def on_epoch_begin(self, epoch, logs=None):
            if not epoch:
                killer.start()

        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = len(kills) == 25

    agent = compiled(make)
    try:
        history = train(
            agent, NATIVE, RayCollectors(2, max_restarts=30), rollouts=40_000, epochs=2_000, callbacks=[UntilKilled()]
        )
    finally:
        ended.set()
    assert len(kills) == 25
    assert 20 <= sum(history["collector_restarts"]) <= 25  # the last ones may still have been starting
    assert wait_for(lambda: not processes())
