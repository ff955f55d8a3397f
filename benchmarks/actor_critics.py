"""Gradient steps per second of SAC and TD3, beside stable-baselines3 and SBX where they are installed.

    python benchmarks/actor_critics.py [--rounds 5] [--steps 1000] [--envs 1] [--agents SAC TD3 RecurrentSAC] [--tasks ...]

One gradient step for each environment step: networks of two layers of 256, batches of 256, Pendulum and HalfCheetah through
Gymnasium. All train in one process and in turn, a round of `--steps` each: on a shared machine, rates in separate processes
differ by up to 50 %. The first round of each, which compiles and fills its buffer, does not count; the others give medians. The
last column is the share of the limit: the rate at which the same matrix products alone could be made, one after the other, from
the rate of products of 256 by 256 matrices in TensorFlow.
"""

import argparse
import importlib
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

import keras_rl_prob as krp

TASKS = {"Pendulum": "Pendulum-v1", "HalfCheetah": "HalfCheetah-v5"}
WIDTH = BATCH = 256
STARTS = 1_000
FLOP = {"SAC": 547e6, "TD3": 393e6}  # of the matrix products of a gradient step, forward and backward, on HalfCheetah


def ours(name, task, envs, steps):
    """A function that trains for a round."""
    keras.utils.set_random_seed(0)
    rows = max(8 // envs, 1)
    agent = getattr(krp, name)(rollout_steps=rows, updates=rows * envs, **memory(name))
    agent.compile()
    rounds = iter(range(10**6))

    def learn():
        done = next(rounds)
        agent.fit(
            task, epochs=done + 1, initial_epoch=done, steps_per_epoch=steps, num_envs=envs, seed=None if done else 0, verbose=0
        )  # fmt: skip

    return learn


def memory(name):
    """The arguments of an agent that say what it replays."""
    if name.startswith("Recurrent"):  # 256 rows: 26 sequences of 10
        return {
            "replay": krp.SequenceReplaySettings(
                n_step=1, prioritized=False, batch_size=26, sequence_length=10, period=2
            )
        }
    return {"replay": krp.ReplaySettings(batch_size=BATCH, learning_starts=STARTS)}


def theirs(package, name, task, envs, steps):
    """A function that trains for a round, or `None` if the package or its agent is missing."""
    try:
        made = getattr(importlib.import_module(package), name)
        vector = importlib.import_module("stable_baselines3.common.env_util").make_vec_env(task, envs, seed=0)
    except (ImportError, AttributeError):
        return None
    options = {"gradient_steps": envs, "train_freq": 1, "batch_size": BATCH, "learning_starts": STARTS, "seed": 0}
    model = made("MlpPolicy", vector, policy_kwargs={"net_arch": [WIDTH, WIDTH]}, **options)
    model.learn(STARTS)
    return lambda: model.learn(steps, reset_num_timesteps=False)


def products_per_second(seconds=1.0):
    """Floating-point operations per second of products of 256 by 256 matrices."""
    x, count = tf.random.normal((BATCH, WIDTH)), 200

    @tf.function(jit_compile=True)
    def multiply(x):
        return tf.while_loop(lambda i, _: i < count, lambda i, x: (i + 1, tf.matmul(x, x) * 1e-3), (0, x))[1]

    multiply(x)
    rates, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        multiply(x).numpy()
        rates.append(count * 2.0 * BATCH * WIDTH * WIDTH / (time.perf_counter() - start))
    return statistics.median(rates)


def measured(contestants, rounds, steps):
    """Dict from the names of contestants to their median gradient steps per second, all in turn."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, learn in contestants.items():
            start = time.perf_counter()
            learn()
            if number:
                rates[name].append(steps / (time.perf_counter() - start))
    return {name: statistics.median(x) for name, x in rates.items()}


def main():
    """Prints a row for each library, agent and task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1000, help="gradient steps in a round, a multiple of 8")
    parser.add_argument("--envs", type=int, default=1)
    parser.add_argument("--agents", nargs="+", default=["SAC", "TD3", "RecurrentSAC"])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    arguments = parser.parse_args()
    print(
        "| task | agent | library | steps/s | beside ours | share of the limit |\n| --- | --- | --- | --- | --- | --- |"
    )
    for task in arguments.tasks:
        for agent in arguments.agents:
            made = {"keras_rl_prob": ours(agent, TASKS[task], arguments.envs, arguments.steps)}
            for package in ("stable_baselines3", "sbx"):
                learn = theirs(package, agent, TASKS[task], arguments.envs, arguments.steps)
                made |= {package: learn} if learn else {}
            limit = products_per_second() / FLOP[agent] if agent in FLOP else None
            rates = measured(made, arguments.rounds, arguments.steps)
            for name, rate in rates.items():
                share = f"{rate / limit:.2f}" if limit else ""
                print(
                    f"| {task} | {agent} | {name} | {rate:.1f} | {rates['keras_rl_prob'] / rate:.2f} | {share} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
