"""Memory of a process that searches for hyperparameters with KerasTuner, after each trial.

    python benchmarks/tuner_memory.py [--trials 50] [--xla]

Every trial trains an agent of `HyperRecurrentPPO` with other hyperparameters for some rollouts of 32 environments and evaluates
it. TensorFlow frees nothing of what it compiled, so that the memory grows with the trials. `keras-rl-prob tune` runs each ten
trials in a process of their own.
"""

import argparse
import os
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras_rl_prob as krp  # isort: skip

import keras_tuner

ENV = "krp/CartPoleNoVel-v1"
START = time.perf_counter()


def mebibytes():
    """Resident memory of this process."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


class Search(keras_tuner.RandomSearch):
    """Prints the memory after each trial."""

    def on_trial_end(self, trial):
        super().on_trial_end(trial)
        seconds = time.perf_counter() - START
        print(f"trial {int(trial.trial_id) + 1}: {mebibytes():,.0f} MiB after {seconds:.0f} s", flush=True)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--trials", type=int, default=50)
parser.add_argument("--xla", action="store_true", help="compile each agent")
args = parser.parse_args()
print(f"before the first trial: {mebibytes():,.0f} MiB", flush=True)
with tempfile.TemporaryDirectory() as folder:
    tuner = Search(
        krp.tuners.HyperRecurrentPPO(ENV, jit_compile=args.xla),
        objective=keras_tuner.Objective("val_return", "max"),
        max_trials=args.trials,
        directory=folder,
        project_name="memory",
        seed=0,
    )
    tuner.search(ENV, epochs=1, validation_data=ENV, verbose=0)
