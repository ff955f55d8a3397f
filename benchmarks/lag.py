"""The effect of V-trace if rollouts lag behind the policy: IMPALA with and without it.

    python benchmarks/lag.py [--lags 0 4 8 16] [--seeds 5] [--steps 300000] [--env tf/CartPole-v1] [--learning-rate 6e-4]

Trains an agent for each lag, correction and seed, and prints the median over seeds of the mean return of 100 deterministic
episodes after training, with the lowest and the highest. A rollout has 8 environments x 20 steps, with one gradient step.
"""

import argparse
import statistics

import keras

import keras_rl_prob as krp

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--lags", nargs="+", type=int, default=[0, 4, 8, 16], help="in gradient steps")
parser.add_argument("--seeds", type=int, default=5)
parser.add_argument("--steps", type=int, default=300_000, help="environment steps of a run")
parser.add_argument("--env", default="tf/CartPole-v1")
parser.add_argument("--learning-rate", type=float, default=6e-4)
args = parser.parse_args()
NUM_ENVS, EPISODES = 8, 100
CORRECTIONS = {"V-trace": krp.VTrace(), "none": None}


def trained(lag, vtrace, seed):
    """Mean return of a new agent after training."""
    keras.utils.set_random_seed(seed)
    agent = krp.IMPALA(vtrace=vtrace, lag=lag)
    agent.compile(keras.optimizers.Adam(args.learning_rate, epsilon=1e-5, global_clipnorm=0.5), steps_per_execution=20)
    updates = max(1, round(args.steps / (agent.rollout_steps * NUM_ENVS * 20))) * 20
    agent.fit(args.env, epochs=1, steps_per_epoch=updates, num_envs=NUM_ENVS, seed=seed, verbose=0)
    return agent.evaluate(args.env, episodes=EPISODES, verbose=0)[0]


print("| lag |", *(f"{name} |" for name in CORRECTIONS))
print("| --- |", *("--- |" for _ in CORRECTIONS))
for lag in args.lags:
    cells = []
    for vtrace in CORRECTIONS.values():
        returns = [trained(lag, vtrace, seed) for seed in range(1, args.seeds + 1)]
        cells.append(f"{statistics.median(returns):.1f} ({min(returns):.1f} to {max(returns):.1f}) |")
    print(f"| {lag} |", *cells, flush=True)
