"""What limits many collectors: sizes of weights, rollouts and gradients; seconds of the learner and of Ray for each rollout.

Prints two tables with a row for each agent. The first one is measured:

* `weights`, `arrives`: megabytes of the agent's weights, and of what a collector sends: a rollout, or a gradient (A3C);
* `learn`: milliseconds of the learner for a rollout that is there, or for a gradient;
* `put`, `get`: milliseconds to put the weights into Ray's object store, and to get and copy what a collector has sent;
* `possible`: rollouts per second that the learner can take, `1 / (learn + put + get)`.

The second one is calculated, for collectors whose environments together take `--step` milliseconds for a step:

* `wanted`, `taken`: rollouts per second that all collectors make, `N / (rows * step)`, and the smaller of that and `possible`;
* `in`, `out`: megabytes per second that then reach the learner, and that leave it if each version of the weights goes to each
  machine once;
* `store`: megabytes of two rollouts and two versions of the weights for each collector;
* `lag`: mean age of a rollout in versions, `2 N - 1`.

    python benchmarks/scale.py --collectors 100 1000
"""

import argparse
import logging
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import ray
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.distributed.gradients import GradientDriver

MEGABYTE, MACHINE = 1e6, 32  # collectors on a machine


class Held:
    """Collectors whose rollouts are one and the same, so that only learning takes time."""

    def __init__(self, kind):
        self.kind = kind

    def make_source(self, agent, env, seed):
        """The agent's source with a rollout that is there, or with its gradient."""
        source = agent.make_source(env, seed)
        if self.kind == "gradient":
            copy = type(agent).from_config(agent.get_config())
            copy.build(env)
            optimizer = keras.saving.serialize_keras_object(agent.optimizer)
            settings = {"steps": agent.rollout_steps, "seed": seed, "optimizer": optimizer}
            driver = GradientDriver(copy, env, jit_compile=False, **settings)
            copy.set_weights(agent.get_weights())
            data = tf.function(driver.collect, autograph=False)()
            source.prepare = lambda _: (source.next_seed(), data)[1]
        else:
            data = tf.function(source.collect, autograph=False)()
        source.collect = lambda: data
        self.bytes = sum(x.numpy().nbytes for x in tf.nest.flatten(data))
        return source


class Seconds(keras.callbacks.Callback):
    """Seconds of each epoch but the first."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock."""
        self.begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Stops the clock."""
        if epoch:
            self.seconds.append(time.perf_counter() - self.begin)


def pong():
    """The environment of the preset `pong_impala`."""
    return krp.presets.make_env(krp.presets.get("pong_impala"))


def agents():
    """Name, agent, environment and number of environments of a collector."""
    yield "CartPole, IMPALA", krp.IMPALA(), "tf/CartPole-v1", 8, "rollout"
    yield "CartPole, A3C", krp.A3C(rollout_steps=20), "tf/CartPole-v1", 8, "gradient"
    env = pong()
    for name, kind, what in (("IMPALA", krp.IMPALA, "rollout"), ("A3C", krp.A3C, "gradient")):
        agent = kind(krp.networks.nature_cnn(env), rollout_steps=20, normalize_rewards=False)
        yield f"Pong, {name}", agent, env, 8, what


def median_time(function, times=9):
    """Median seconds of a call."""
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def measured(agent, env, num_envs, kind, rollouts):
    """Bytes of weights and of what arrives, seconds to learn, to put the weights and to get what arrives."""
    agent.compile(keras.optimizers.Adam(1e-4, global_clipnorm=0.5), steps_per_execution=5)
    held, clock = Held(kind), Seconds()
    agent.fit(env, 4, rollouts, num_envs=num_envs, seed=1, verbose=0, collectors=held, callbacks=[clock])
    weights = [keras.ops.convert_to_numpy(x) for x in agent.weights]
    arrives = ray.put([np.zeros(held.bytes, np.uint8)])
    put = median_time(lambda: ray.put(weights))
    get = median_time(lambda: [x.copy() for x in ray.get(arrives)])
    return sum(x.nbytes for x in weights), held.bytes, statistics.median(clock.seconds) / rollouts, put, get


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collectors", type=int, nargs="+", default=[100, 1000])
    parser.add_argument(
        "--step", type=float, default=20.0, help="milliseconds of a step of all environments of a collector"
    )
    parser.add_argument("--rollouts", type=int, default=20, help="in an epoch, of which three are measured")
    args = parser.parse_args()
    ray.init(
        address="local", num_cpus=1, include_dashboard=False, logging_level=logging.ERROR, object_store_memory=2**30
    )
    print("| agent | weights, MB | arrives, MB | learn, ms | put, ms | get, ms | possible, 1/s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    rows = []
    for name, agent, env, num_envs, kind in agents():
        weights, arrives, learn, put, get = measured(agent, env, num_envs, kind, args.rollouts)
        possible = 1 / (learn + put + get)
        rows.append((name, weights, arrives, possible))
        numbers = [1e3 * x for x in (learn, put, get)]
        print(
            f"| {name} | {weights / MEGABYTE:.3f} | {arrives / MEGABYTE:.3f} | "
            + " | ".join(f"{x:.2f}" for x in numbers)
            + f" | {possible:.0f} |",
            flush=True,
        )
    print("\n| agent | collectors | wanted, 1/s | taken, 1/s | in, MB/s | out, MB/s | store, MB | lag |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, weights, arrives, possible in rows:
        for count in args.collectors:
            wanted = count / (20 * args.step / 1e3)
            taken, machines = min(wanted, possible), -(-count // MACHINE)
            store = 2 * count * (arrives + weights)
            flows = [x / MEGABYTE for x in (taken * arrives, taken * weights * machines, store)]
            print(
                f"| {name} | {count} | {wanted:.0f} | {taken:.0f} | "
                + " | ".join(f"{x:,.1f}" for x in flows)
                + f" | {2 * count - 1} |"
            )
    ray.shutdown()


if __name__ == "__main__":
    main()
