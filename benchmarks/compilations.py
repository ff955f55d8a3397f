"""Number of traces and XLA compilations of each call, and its time.

    python benchmarks/compilations.py [--agents PPO DQN ...] [--env tf/CartPole-v1] [--json] [--small]

For each agent, with default settings, in a separate process: a first `fit`, a second one, `evaluate`, `evaluate` again, and a
`fit` with validation over five epochs. Traces are counted where TensorFlow makes graphs of functions, compilations from
TensorFlow's log. "epoch" is the median time of an epoch after everything is compiled.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time

AGENTS = [
    "PPO",
    "RecurrentPPO",
    "A2C",
    "A3C",
    "IMPALA",
    "ACER",
    "Reinforce",
    "DQN",
    "RecurrentDQN",
    "LinearQ",
    "RandomAgent",
]
SMALL = {"PPO": {"rollout_steps": 16}, "RecurrentPPO": {"rollout_steps": 16}, "DQN": {"learning_starts": 128}}
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--agents", nargs="+", default=AGENTS, metavar="AGENT", help="default: all")
parser.add_argument("--env", default="tf/CartPole-v1")
parser.add_argument("--json", action="store_true", help="print one line of JSON for each agent")
parser.add_argument("--small", action="store_true", help="short rollouts")
parser.add_argument("--measure", help=argparse.SUPPRESS)
args = parser.parse_args()
MARK, COMPILED = "call ends", "Instantly compiling for signature"


def measure(name):
    """Makes all calls in this process; prints what each of them traced, and marks its end in TensorFlow's log."""
    import keras  # noqa: PLC0415 - the parent needs no TensorFlow
    from tensorflow.python.eager.polymorphic_function import tracing_compilation  # noqa: PLC0415

    import keras_rl_prob as krp  # noqa: PLC0415

    traced, create = [], tracing_compilation._create_concrete_function

    def counted(*args):
        traced.append(args[-1].name)
        return create(*args)

    tracing_compilation._create_concrete_function = counted
    agent = getattr(krp, name)(**SMALL.get(name, {}) if args.small else {})
    agent.compile()
    if name == "LinearQ":
        agent.build(args.env)  # its default network plays, to fit its features
    seconds = []

    def fit(epochs=1, **arguments):
        began = []
        clock = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: began.append(time.perf_counter()),
            on_epoch_end=lambda epoch, logs: seconds.append(time.perf_counter() - began[-1]),
        )
        agent.fit(args.env, epochs=epochs, verbose=0, callbacks=[clock], **arguments)

    calls = {
        "first fit": fit,
        "second fit": fit,
        "evaluate": lambda: agent.evaluate(args.env, verbose=0),
        "evaluate again": lambda: agent.evaluate(args.env, verbose=0),
        "fit 5, validated": lambda: fit(5, validation_data=args.env),
        "5 epochs": lambda: fit(5),
    }
    for call, run in calls.items():
        traced.clear()
        seconds.clear()
        start = time.perf_counter()
        run()
        row = {"call": call, "seconds": time.perf_counter() - start, "traces": len(traced), "functions": traced}
        row["epoch"] = statistics.median(seconds) if seconds else None
        print(json.dumps(row), flush=True)
        print(MARK, file=sys.stderr, flush=True)


def results(name):
    """The results of an agent in a separate process: a list of dicts, one for each call."""
    command = [sys.executable, __file__, "--measure", name, "--env", args.env, *(["--small"] if args.small else [])]
    environment = os.environ | {"TF_CPP_VMODULE": "device_compiler=2", "TF_CPP_MIN_LOG_LEVEL": "0"}
    process = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if process.returncode:
        sys.exit(f"{name} failed:\n{process.stderr[-3000:]}")
    logs = process.stderr.split(MARK)
    rows = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
    return [row | {"compilations": len(re.findall(COMPILED, log))} for row, log in zip(rows, logs, strict=False)]


if args.measure:
    measure(args.measure)
    sys.exit()
for agent_name in args.agents:
    found = results(agent_name)
    if args.json:
        print(json.dumps({"agent": agent_name, "calls": found}), flush=True)
        continue
    epoch = found[-1]["epoch"]
    print(f"\n{agent_name}: an epoch takes {epoch:.2f} s\n{'':20}{'seconds':>9}{'traces':>9}{'compilations':>14}")
    for row in found[:-1]:
        print(f"  {row['call']:18}{row['seconds']:>9.2f}{row['traces']:>9}{row['compilations']:>14}", flush=True)
