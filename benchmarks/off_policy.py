"""The cost of off-policy correction: IMPALA beside PPO and A2C, and ACER beside A2C, on native CartPole.

    python benchmarks/off_policy.py [--rounds 7]

All agents have two Dense 64 for the policy and two for the value, and learn once from each new rollout of 16 environments x 20
steps. They train in turn in one process; the table has the median milliseconds for a rollout (collecting it and all gradient
steps on it) and the ratio to A2C in the same round.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras_rl_prob as krp

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rounds", type=int, default=7)
args = parser.parse_args()
ENV, NUM_ENVS, STEPS, ROLLOUTS = "tf/CartPole-v1", 16, 20, 400


def acer(ratio):
    """ACER with a replay ratio."""
    return krp.ACER(
        rollout_steps=STEPS, replay=krp.RolloutReplaySettings(ratio=ratio, learning_starts=STEPS * NUM_ENVS)
    )


AGENTS = {
    "A2C": krp.A2C(rollout_steps=STEPS),
    "PPO, 1 minibatch, 1 epoch": krp.PPO(rollout_steps=STEPS, minibatches=1, update_epochs=1),
    "IMPALA": krp.IMPALA(rollout_steps=STEPS),
    "IMPALA, lag 8": krp.IMPALA(rollout_steps=STEPS, lag=8),
    "APPO": krp.IMPALA(rollout_steps=STEPS, clip_ratio=0.2),
    "ACER without replay": acer(0),
    "ACER, ratio 1": acer(1),
    "ACER, ratio 4": acer(4),
}
seconds: dict[str, list[float]] = {name: [] for name in AGENTS}
for round_number in range(args.rounds + 1):  # the first one compiles
    for name, agent in AGENTS.items():
        updates = agent.updates_per_rollout(NUM_ENVS)
        if not round_number:
            agent.compile(steps_per_execution=20 * updates)
        start = time.perf_counter()
        epoch = {"steps_per_epoch": ROLLOUTS * updates, "initial_epoch": round_number, "epochs": round_number + 1}
        agent.fit(ENV, **epoch, num_envs=NUM_ENVS, seed=0, verbose=0)
        seconds[name].append(time.perf_counter() - start)
print("| agent | ms a rollout | ratio to A2C |\n| --- | --- | --- |")
for name, times in seconds.items():
    ratios = [mine / base for mine, base in zip(times[1:], seconds["A2C"][1:], strict=True)]
    print(f"| {name} | {1e3 * statistics.median(times[1:]) / ROLLOUTS:.2f} | {statistics.median(ratios):.2f} |")
