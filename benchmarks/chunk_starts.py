"""How the recurrent state at the start of a sequence is chosen: stored, zero, or refreshed before every pass.

    python benchmarks/chunk_starts.py [--env tf/CartPoleNoVel-v1] [--states stored zero refreshed] [--length 8]
        [--seeds 1 2 3 4 5] [--steps 100000]

Trains a RecurrentPPO with sequences of `--length` steps for each of `Minibatches(initial_state=...)` and each seed, and prints
the mean return of 100 deterministic episodes after the training: the median over seeds and all of them. Other environments than
masked CartPole are made by Gymnasium; ids of POPGym, such as `popgym-RepeatPreviousEasy-v0`, need the package popgym. The table
of docs/concepts/recurrent-state.md is from

    python benchmarks/chunk_starts.py --seeds 1 2 3 --steps 60000
    python benchmarks/chunk_starts.py --env popgym-RepeatPreviousEasy-v0 --length 16 --seeds 1 2 3 --steps 150000
"""

import argparse
import contextlib
import importlib
import statistics

import keras

import keras_rl_prob as krp

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env", default="tf/CartPoleNoVel-v1")
parser.add_argument("--states", nargs="+", default=["stored", "zero", "refreshed"])
parser.add_argument("--length", type=int, default=8, help="steps in a sequence")
parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
parser.add_argument("--steps", type=int, default=100_000, help="environment steps of a training")
args = parser.parse_args()


def trained(initial_state, seed):
    """Mean return of a new agent after its training."""
    keras.utils.set_random_seed(seed)
    agent = krp.RecurrentPPO(
        rollout_steps=64,
        minibatches=krp.Minibatches(4, sequence_length=args.length, initial_state=initial_state),
        update_epochs=10,
        normalize_observations=True,
    )
    agent.compile(keras.optimizers.Adam(1e-3, epsilon=1e-5, global_clipnorm=0.5))
    agent.fit(args.env, env_steps=args.steps, num_envs=16, seed=seed, verbose=0)
    return agent.evaluate(args.env, episodes=100, return_dict=True, verbose=0)["return"]


with contextlib.suppress(ImportError):
    importlib.import_module("popgym")  # registers its environments
for state in args.states:
    returns = [trained(state, seed) for seed in args.seeds]
    each = ", ".join(f"{x:.2f}" for x in returns)
    print(
        f"{args.env} {state:<9} sequences of {args.length}: median {statistics.median(returns):.2f} ({each})",
        flush=True,
    )
