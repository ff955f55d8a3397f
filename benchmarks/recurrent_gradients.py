"""Whether the gradient of a recurrent layer is faster for all steps at once or step by step, by the number of sequences.

    python benchmarks/recurrent_gradients.py [--steps 128] [--units 64] [--rounds 15]

Milliseconds, forward and backward, of `keras_rl_prob.ops.recurrent`'s LSTM and GRU, compiled; medians of rounds in turn. Its
constants `LARGE_LSTM` and `LARGE_GRU` are the sizes of a state, sequences times units, from which the latter is used.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from keras_rl_prob.ops import recurrent  # isort: skip  # first, to silence TensorFlow

import tensorflow as tf

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=128)
parser.add_argument("--units", type=int, default=64)
parser.add_argument("--sequences", type=int, nargs="+", default=[8, 32, 64, 128, 256, 1024])
parser.add_argument("--rounds", type=int, default=15)
args = parser.parse_args()
NEVER, ALWAYS = 2**62, 1


def gradient(kind, large):
    """A compiled function of inputs, recurrent kernel and bias, traced with this size of a large state."""

    @tf.function(jit_compile=True, autograph=False)
    def compute(inputs, kernel, bias):
        recurrent.LARGE_LSTM = recurrent.LARGE_GRU = large
        keep, state = tf.ones(inputs.shape[:2]), tf.zeros((inputs.shape[1], args.units))
        with tf.GradientTape() as tape:
            tape.watch([inputs, kernel, bias])
            if kind == "LSTM":
                outputs, _ = recurrent.lstm(inputs + bias, kernel, keep, (state, state))
            else:
                outputs, _ = recurrent.gru(inputs, kernel, bias, keep, state)
            loss = tf.reduce_sum(tf.square(outputs))
        return tape.gradient(loss, [inputs, kernel, bias])

    return compute


print("| layer | sequences | at once, ms | step by step, ms | ratio |\n| --- | --- | --- | --- | --- |", flush=True)
for kind, gates in (("LSTM", 4), ("GRU", 3)):
    for count in args.sequences:
        width = gates * args.units
        data = [0.1 * tf.random.normal(shape) for shape in [(args.steps, count, width), (args.units, width), (width,)]]
        both = [gradient(kind, large) for large in (NEVER, ALWAYS)]
        for compute in both:
            compute(*data)
        seconds: list[list[float]] = [[], []]
        for _ in range(args.rounds):
            for compute, found in zip(both, seconds, strict=True):
                start = time.perf_counter()
                compute(*data)
                found.append(time.perf_counter() - start)
        once, stepwise = (1e3 * statistics.median(found) for found in seconds)
        print(f"| {kind} | {count:,} | {once:.2f} | {stepwise:.2f} | {once / stepwise:.2f} |", flush=True)
