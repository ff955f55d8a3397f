"""Microseconds per action of a policy on CartPole, of the agent and of its exports.

    python benchmarks/policy.py [--calls 2000]

Default networks, one environment, observations and actions as NumPy arrays, the recurrent state passed from call to call.
"Policy" is `agent.policy()`, "SavedModel" the `serve` of `tf.saved_model.load`, "ONNX" ONNX Runtime with one thread (`pip
install "keras_rl_prob[onnx]"`). The environment itself is not part of the times.
"""

import argparse
import os
import pathlib
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import onnxruntime
import tensorflow as tf

import keras_rl_prob as krp

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--calls", type=int, default=2000)
args = parser.parse_args()

OBSERVATIONS = np.random.default_rng(0).normal(size=(args.calls, 4)).astype(np.float32)


def saved_model(folder):
    """A function like a `Policy`, of a SavedModel."""
    policy = tf.saved_model.load(folder)
    state, is_first = policy.initial_state(1), np.zeros(1, bool)

    def act(observation):
        nonlocal state
        action, state = policy.serve(observation[None], is_first, state)
        return action.numpy()[0]

    return act


def onnx(path):
    """A function like a `Policy`, of an ONNX file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = {x.name: np.zeros((1, *x.shape[1:]), np.float32) for x in session.get_inputs() if x.name != "is_first"}
    inputs["is_first"] = np.zeros(1, bool)
    outputs = [x.name for x in session.get_outputs()]
    states = {x: x.removeprefix("next_") for x in outputs if x.startswith("next_")}

    def act(observation):
        inputs["observation"] = observation[None]
        result = dict(zip(outputs, session.run(outputs, inputs), strict=True))
        inputs.update({name: result[x] for x, name in states.items()})
        return result["action"][0]

    return act


def times(act):
    """Microseconds of each call, without the first hundred."""
    measured = []
    for observation in [*OBSERVATIONS[:100], *OBSERVATIONS]:
        start = time.perf_counter()
        act(observation)
        measured.append(1e6 * (time.perf_counter() - start))
    return measured[100:]


print(f"{'microseconds for one action':32} {'median':>8} {'99 %':>8}")
with tempfile.TemporaryDirectory() as folder:
    for kind in (krp.PPO, krp.RecurrentPPO):
        agent = kind()
        agent.build("CartPole-v1")
        exported = pathlib.Path(folder, kind.__name__)
        agent.export(exported)
        agent.export(exported.with_suffix(".onnx"), format="onnx")
        contestants = {
            "Policy": agent.policy(),
            "SavedModel": saved_model(exported),
            "ONNX": onnx(exported.with_suffix(".onnx")),
        }
        for name, act in contestants.items():
            median, slow = np.quantile(times(act), [0.5, 0.99])
            print(f"{kind.__name__ + ', ' + name:32} {median:8.0f} {slow:8.0f}", flush=True)
