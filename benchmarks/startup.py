"""Seconds until a program does something: help in the shell, the import, the first `fit` of a new process.

    python benchmarks/startup.py [--agents RecurrentPPO PPO DQN] [--rounds 3]

"import" is that of `keras_rl_prob` beyond TensorFlow, TensorFlow Probability and Keras. "first" is the first rollout and its
gradient steps in a new process with an empty cache of what XLA compiles, "later" in processes that find it there, "other
number" in one whose agent has another discount, and "later, in all" the whole process, imports included. Every measurement is
a process of its own; medians.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--agents", nargs="+", default=["RecurrentPPO", "PPO", "A2C", "DQN", "SAC"])
parser.add_argument("--rounds", type=int, default=3)
args = parser.parse_args()

IMPORT = """
import time
{before}
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""
FIT = """
import time
import keras_rl_prob as krp
import keras
keras.utils.set_random_seed(0)
agent = krp.{agent}(discount={discount})
agent.compile()
seconds = []
start = time.perf_counter()


def stop(batch, logs):
    seconds.append(time.perf_counter() - start)
    agent.stop_training = True


agent.fit("tf/CartPole-v1", verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=stop)])
print(seconds[0])
"""


def run(*command, cache="off"):
    """Runs Python; returns the seconds that the program printed, if any, and those that the process took."""
    environment = {**os.environ, "KERAS_RL_PROB_CACHE": cache, "TF_CPP_MIN_LOG_LEVEL": "3"}
    start = time.perf_counter()
    output = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=True)
    took = time.perf_counter() - start
    words = output.stdout.split()
    return (float(words[-1]) if words and words[-1].replace(".", "", 1).isdigit() else took), took


def median(count, *command, **kwargs):
    """Medians of `run`."""
    return [statistics.median(values) for values in zip(*(run(*command, **kwargs) for _ in range(count)), strict=True)]


for words in (["--help"], ["list"]):
    print(
        f"keras-rl-prob {' '.join(words):8} {median(args.rounds, '-m', 'keras_rl_prob', *words)[1]:5.2f} s", flush=True
    )
before = "import tensorflow, tf_keras, tensorflow_probability, keras, gymnasium"
beyond, _ = median(args.rounds, "-c", IMPORT.format(before=before, module="keras_rl_prob"))
print(f"import {'':15} {beyond:5.2f} s", flush=True)
for agent in args.agents:
    first, later, other, whole = [], [], [], []
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as folder:
            program, changed = (FIT.format(agent=agent, discount=discount) for discount in (0.99, 0.98))
            first.append(run("-c", program, cache=folder)[0])
            seconds, took = run("-c", program, cache=folder)
            later.append(seconds)
            whole.append(took)
            other.append(run("-c", changed, cache=folder)[0])
    first_s, later_s, other_s, whole_s = map(statistics.median, (first, later, other, whole))
    print(
        f"{agent:22} first {first_s:5.1f} s, later {later_s:5.1f} s, other number {other_s:5.1f} s, "
        f"later, in all {whole_s:5.1f} s",
        flush=True,
    )
