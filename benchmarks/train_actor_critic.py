"""Trains an actor-critic for a round of steps for each line that comes in, and prints the seconds; see actor_critics.py."""

import argparse
import importlib
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

WIDTH = BATCH = 256
STARTS = 1_000
FLOP = {"SAC": 547e6, "TD3": 393e6}  # of the matrix products of a gradient step, forward and backward, on HalfCheetah


def ours(args):
    """A function that trains our agent for a round."""
    krp = importlib.import_module("keras_rl_prob")
    rows = max(32 // args.envs, 1)  # as many gradient steps as steps in a rollout, 32 as by default
    if args.agent.startswith("Recurrent"):  # 26 sequences of 10: 260 rows
        sizes = {"batch_size": 26, "sequence_length": 10, "period": 2}
        replay = krp.SequenceReplaySettings(n_step=1, prioritized=False, **sizes)
        rows = max(rows, sizes["period"])
    else:
        replay = krp.ReplaySettings(batch_size=BATCH, learning_starts=STARTS)
    agent = getattr(krp, args.agent)(rollout_steps=rows, updates=rows * args.envs, replay=replay)
    agent.compile()
    options = {"steps_per_epoch": args.steps, "num_envs": args.envs, "verbose": 0}

    def learn(done):
        agent.fit(args.task, epochs=done + 1, initial_epoch=done, seed=None if done else 0, **options)

    return learn


def theirs(args):
    """A function that trains the agent of `stable_baselines3` or `sbx` for a round."""
    made = getattr(importlib.import_module(args.library), args.agent)
    vector = importlib.import_module("stable_baselines3.common.env_util").make_vec_env(args.task, args.envs, seed=0)
    options = {"gradient_steps": args.envs, "train_freq": 1, "batch_size": BATCH, "learning_starts": STARTS, "seed": 0}
    model = made("MlpPolicy", vector, policy_kwargs={"net_arch": [WIDTH, WIDTH]}, **options)
    model.learn(STARTS)
    return lambda done: model.learn(args.steps, reset_num_timesteps=False)


def products(args):
    """A function that makes the matrix products of a round one after the other, all of the shape 256 by 256."""
    importlib.import_module("keras_rl_prob")  # keeps TensorFlow quiet
    tf = importlib.import_module("tensorflow")
    x, count = tf.random.normal((BATCH, WIDTH)), int(args.steps * FLOP[args.agent] / (2.0 * BATCH * WIDTH * WIDTH))

    @tf.function(jit_compile=True)
    def multiply(x):
        return tf.while_loop(lambda i, _: i < count, lambda i, x: (i + 1, tf.matmul(x, x) * 1e-3), (0, x))[1]

    return lambda done: multiply(x).numpy()


def main():
    """Trains for a round for each line of standard input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=["keras_rl_prob", "stable_baselines3", "sbx", "products"])
    parser.add_argument("agent")
    parser.add_argument("task")
    parser.add_argument("--envs", type=int, default=1)
    parser.add_argument("--steps", type=int, default=960)
    args = parser.parse_args()
    learn = {"keras_rl_prob": ours, "products": products}.get(args.library, theirs)(args)
    for done, _ in enumerate(sys.stdin):
        start = time.perf_counter()
        learn(done)
        print(f"{time.perf_counter() - start:.4f} seconds", flush=True)


main()
