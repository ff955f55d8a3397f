"""Ways to solve the recursion of returns, by length and batch: time to trace and compile, and to run.

    python benchmarks/scans.py [--rounds 20]

"ours" is `keras_rl_prob.ops.returns.reverse_linear_scan`, "associative" TensorFlow Probability's parallel scan, "loop" a plain
`tf.while_loop`. They run alternately in one process; every number is a median.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from keras_rl_prob.ops.returns import reverse_linear_scan  # isort: skip  # first, to silence TensorFlow

import tensorflow as tf
import tensorflow_probability as tfp

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rounds", type=int, default=20)
args = parser.parse_args()


def associative(decays, increments):
    """A scan of the composition of affine maps, of logarithmic depth."""

    def compose(later, earlier):
        return later[0] * earlier[0], earlier[1] + earlier[0] * later[1]

    return tfp.math.scan_associative(compose, (decays[::-1], increments[::-1]))[1][::-1]


def loop(decays, increments):
    """The recursion as a sequential loop."""
    length = decays.shape[0]
    rows = tf.TensorArray(decays.dtype, length, element_shape=decays.shape[1:])

    def body(t, x, rows):
        x = increments[t] + decays[t] * x
        return t - 1, x, rows.write(t, x)

    _, _, rows = tf.while_loop(
        lambda t, *_: t >= 0, body, (length - 1, tf.zeros_like(decays[0]), rows), maximum_iterations=length
    )
    return rows.stack()


WAYS = {"ours": reverse_linear_scan, "associative": associative, "loop": loop}

print(f"{'':24}" + "".join(f"{way + ' compile ms':>24}{way + ' run us':>20}" for way in WAYS))
for compiled in (True, False):
    for length in (5, 16, 128, 512, 2048):
        for batch in (1, 32, 256):
            inputs = tf.random.uniform((2, length, batch), 0.5, 1.0)
            functions, first = {}, {}
            later: dict[str, list[float]] = {way: [] for way in WAYS}
            for way, solve in WAYS.items():
                functions[way] = tf.function(
                    lambda x, solve=solve: solve(x[0], x[1]), jit_compile=compiled, autograph=False
                )
                start = time.perf_counter()
                functions[way](inputs)
                first[way] = time.perf_counter() - start
            for _ in range(args.rounds):
                for way, function in functions.items():
                    start = time.perf_counter()
                    for _ in range(10):
                        y = function(inputs)
                    y.numpy()
                    later[way].append((time.perf_counter() - start) / 10)
            times = "".join(f"{1e3 * first[way]:>24.0f}{1e6 * statistics.median(later[way]):>20.0f}" for way in WAYS)
            print(f"{'XLA' if compiled else 'graph':6} T={length:<5} B={batch:<5}{times}", flush=True)
