"""Rates of RecurrentPPO with layers of its own for policy and value, the default, and with shared ones, on native CartPole.

    python benchmarks/recurrent_networks.py [--rounds 5]

32 environments x 128 steps, 4 x 4 gradient steps; both train in turn in one process. Prints the medians of environment steps
per second and of the ratio.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras_rl_prob as krp

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rounds", type=int, default=5)
args = parser.parse_args()
ENV, ROLLOUTS, NUM_ENVS = "tf/CartPole-v1", 8, 32
agents = {shared: krp.RecurrentPPO(krp.networks.recurrent(ENV, shared=shared)) for shared in (True, False)}
rates: dict[bool, list[float]] = {shared: [] for shared in agents}
for epoch in range(args.rounds + 1):  # the first one compiles
    for shared, agent in agents.items():
        if not epoch:
            agent.compile()
        steps = ROLLOUTS * agent.updates_per_rollout(NUM_ENVS)
        start = time.perf_counter()
        agent.fit(
            ENV, initial_epoch=epoch, epochs=epoch + 1, steps_per_epoch=steps, num_envs=NUM_ENVS, seed=0, verbose=0
        )
        rates[shared].append(ROLLOUTS * agent.rollout_steps * NUM_ENVS / (time.perf_counter() - start))
ratio = statistics.median(fast / slow for fast, slow in zip(rates[True][1:], rates[False][1:], strict=True))
for shared, found in rates.items():
    print(f"shared={shared}: {statistics.median(found[1:]):,.0f} env steps/s")
print(f"ratio {ratio:.2f}")
