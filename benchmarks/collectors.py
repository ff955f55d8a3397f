"""Rates of collectors in other processes: by their number, of slow environments, and beside the agent's own collecting.

Prints a table of environment steps per second, medians of several runs, in which a run is one epoch after a first one that
compiles:

* `sleep`: an environment that sleeps 5 ms at each step, by number of collectors, each with one environment;
* `cartpole`: IMPALA on CartPole, by number of collectors of 16 environments, rollouts of 2,048 rows;
* `pong`: A2C on ALE/Pong-v5, one collector in lockstep beside none.

Ratios count: all processes share this machine.

    python benchmarks/collectors.py sleep --collectors 1 16
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import gymnasium
import keras
import numpy as np

import keras_rl_prob as krp


class Sleeper(gymnasium.Env):
    """An environment that sleeps 5 ms at each step."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (4,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        """Starts an episode."""
        super().reset(seed=seed)
        return np.zeros(4, np.float32), {}

    def step(self, action):
        """Sleeps."""
        time.sleep(0.005)
        return np.zeros(4, np.float32), 1.0, False, False, {}


class Rate(keras.callbacks.Callback):
    """Environment steps per second of each epoch but the first."""

    def __init__(self):
        super().__init__()
        self.rates: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):
        self.begin = time.perf_counter(), int(self.model.env_steps)

    def on_epoch_end(self, epoch, logs=None):
        seconds, steps = time.perf_counter() - self.begin[0], int(self.model.env_steps) - self.begin[1]
        if epoch:
            self.rates.append(steps / seconds)


def rate(agent: krp.Agent, env, rollouts: int, collectors, epochs: int, **arguments) -> float:
    """Median rate of an agent."""
    agent.compile(keras.optimizers.Adam(1e-4))
    callback = Rate()
    agent.fit(env, epochs + 1, rollouts, callbacks=[callback], verbose=0, collectors=collectors, **arguments)
    return statistics.median(callback.rates)


def sleep(counts, epochs):
    """Rate by number of collectors of one slow environment each."""
    for count in counts:
        collectors = krp.distributed.RayCollectors(count, num_envs=1, num_cpus=1, mode="asynchronous")
        yield count, rate(krp.IMPALA(rollout_steps=40), Sleeper, 8 * count, collectors, epochs)


def cartpole(counts, epochs):
    """Rate of IMPALA on CartPole; 0 collectors: the agent collects."""
    for count in [0, *counts]:
        collectors = krp.distributed.RayCollectors(count) if count else None
        yield count, rate(krp.IMPALA(rollout_steps=128), "CartPole-v1", 30, collectors, epochs, num_envs=16)


def pong(counts, epochs):
    """Rate of A2C on Pong with one collector beside none."""
    config = krp.presets.get("pong_impala")
    env = krp.presets.make_env(config)
    for count in (0, 1):
        agent = krp.A2C(krp.networks.nature_cnn(env), rollout_steps=20)
        yield count, rate(agent, env, 10, count or None, epochs, num_envs=8)


MEASUREMENTS = {"sleep": sleep, "cartpole": cartpole, "pong": pong}


def main() -> None:
    """Prints the table of one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=MEASUREMENTS)
    parser.add_argument("--collectors", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    first = None
    for count, steps in MEASUREMENTS[args.what](args.collectors, args.epochs):
        first = first or steps
        print(
            f"{args.what:10} {count:3} collectors {steps:10.0f} steps/s  {steps / first:6.2f} of the first", flush=True
        )


if __name__ == "__main__":
    main()
