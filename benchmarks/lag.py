"""The effect of V-trace if rollouts lag behind the policy: IMPALA with and without it.

    python benchmarks/lag.py [--lags 16] [--learning-rates 6e-4 1.5e-3] [--seeds 5] [--steps 300000] [--plot FILE]

Trains an agent for each lag, learning rate, correction and seed, and prints the median over seeds of the mean return of 100
deterministic episodes after training, with the lowest and the highest. A rollout has 8 environments x 20 steps, with one
gradient step. The plot has the medians by learning rate, with a band from the lowest to the highest.
"""

import argparse
import statistics
from collections import defaultdict

import keras
import matplotlib.pyplot as plt

import keras_rl_prob as krp

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--lags", nargs="+", type=int, default=[0, 4, 8, 16], help="in gradient steps")
parser.add_argument("--learning-rates", nargs="+", type=float, default=[6e-4])
parser.add_argument("--seeds", type=int, default=5)
parser.add_argument("--steps", type=int, default=300_000, help="environment steps of a run")
parser.add_argument("--env", default="tf/CartPole-v1")
parser.add_argument("--plot", metavar="FILE", help="where to save a plot")
args = parser.parse_args()
NUM_ENVS, EPISODES = 8, 100
CORRECTIONS = {"V-trace": krp.VTrace(), "none": None}


def trained(lag, learning_rate, vtrace, seed):
    """Mean return of a new agent after training."""
    keras.utils.set_random_seed(seed)
    agent = krp.IMPALA(vtrace=vtrace, lag=lag)
    agent.compile(keras.optimizers.Adam(learning_rate, epsilon=1e-5, global_clipnorm=0.5), steps_per_execution=20)
    updates = max(1, round(args.steps / (agent.rollout_steps * NUM_ENVS * 20))) * 20
    agent.fit(args.env, epochs=1, steps_per_epoch=updates, num_envs=NUM_ENVS, seed=seed, verbose=0)
    return agent.evaluate(args.env, episodes=EPISODES, verbose=0)[0]


curves = defaultdict(
    list
)  # (lag, name of the correction): the median, the lowest and the highest for each learning rate
print("| lag | learning rate |", *(f"{name} |" for name in CORRECTIONS))
print("| --- | --- |", *("--- |" for _ in CORRECTIONS))
for lag in args.lags:
    for learning_rate in args.learning_rates:
        cells = []
        for name, vtrace in CORRECTIONS.items():
            returns = [trained(lag, learning_rate, vtrace, seed) for seed in range(1, args.seeds + 1)]
            curves[lag, name].append((statistics.median(returns), min(returns), max(returns)))
            cells.append("{:.1f} ({:.1f} to {:.1f}) |".format(*curves[lag, name][-1]))
        print(f"| {lag} | {learning_rate:g} |", *cells, flush=True)

if args.plot:
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for (lag, name), points in curves.items():
        median, lowest, highest = zip(*points, strict=True)
        (line,) = axes.plot(args.learning_rates, median, "o-", label=f"lag {lag}, correction: {name}")
        axes.fill_between(args.learning_rates, lowest, highest, color=line.get_color(), alpha=0.15)
    axes.set(xscale="log", xlabel="learning rate", ylabel="return after training")
    axes.set_xticks(args.learning_rates, [f"{rate:g}" for rate in args.learning_rates])
    axes.minorticks_off()
    axes.legend()
    figure.savefig(args.plot, dpi=120)
