"""Environment steps per second of this code relative to another revision, as ratios from one process.

    python benchmarks/before_and_after.py REVISION [--rounds 5] [--agents DQN PPO ...]

The package of REVISION is extracted from git and imported under another name, so that both train in one process, in turn, a few
epochs at a time: on a shared machine, rates in separate processes differ by up to 50 %. All on CartPole: RecurrentPPO and PPO
with 32 environments x 128 steps; RecurrentPPO with Dense 64 -> LSTM 64 for policy and value ("lstm"), with one each ("lstms"),
or with a GRU ("gru"); A2C with 8 x 5, DQN with the settings of rl-baselines3-zoo. "-gym": with Gymnasium's CartPole as each
revision makes it from its id. The ratio is after / before, the median over all pairs of epochs, with its quartiles.
"""

import argparse
import importlib
import io
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

PACKAGE, BEFORE, EPOCHS = "keras_rl_prob", "keras_rl_prob_before", 4
ROOT = pathlib.Path(__file__).parent.parent
DQN = {"rollout_steps": 256, "updates": 128, "batch_size": 64, "target_update": 128}
CASES = {  # class, its arguments, environments, rollouts per epoch, rollouts per execution
    "RecurrentPPO": ("RecurrentPPO", {"rollout_steps": 128}, 32, 4, None),
    "PPO": ("PPO", {"rollout_steps": 128}, 32, 8, None),
    "PPO-gym": ("PPO", {"rollout_steps": 128}, 32, 4, None),
    **{
        memory + suffix: ("RecurrentPPO", {"rollout_steps": 128}, 32, 4, None)
        for memory in ("lstm", "lstms", "gru")
        for suffix in ("", "-gym")
    },
    "A2C": ("A2C", {}, 8, 200, 20),
    **dict.fromkeys(("DQN", "DQN-gym"), ("DQN", DQN, 1, 4, None)),
}


def package_of(revision, folder):
    """The package of a git revision, imported from `folder` as `BEFORE`."""
    archive = subprocess.run(["git", "archive", revision, PACKAGE], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    (folder / PACKAGE).rename(folder / BEFORE)
    for path in (folder / BEFORE).rglob("*.py"):
        path.write_text(path.read_text(encoding="utf-8").replace(PACKAGE, BEFORE), encoding="utf-8")
    sys.path.insert(0, str(folder))
    return importlib.import_module(BEFORE)


def recurrent(package, memory):
    """Dense 64 -> memory of 64 units -> head, for policy and value together, or, for `"lstms"`, for each."""
    observation = keras.Input((4,))
    cell = keras.layers.GRUCell if memory == "gru" else keras.layers.LSTMCell

    def trunk():
        return package.layers.StatefulRNN(cell(64))(keras.layers.Dense(64, "tanh")(observation))

    policy = trunk()
    value = trunk() if memory == "lstms" else policy
    return keras.Model(
        observation, {"action": package.layers.DenseCategorical((2,))(policy), "value": keras.layers.Dense(1)(value)}
    )


def contestant(package, case):
    """A function that trains for some epochs and returns the seconds of each except the first."""
    name, arguments, num_envs, rollouts, execution = CASES[case]
    keras.utils.set_random_seed(0)
    if name == "DQN":
        arguments = arguments | {"network": package.networks.q_network("CartPole-v1", (256, 256))}
    elif case.startswith(("lstm", "gru")):
        arguments = arguments | {"network": recurrent(package, case.removesuffix("-gym"))}
    agent = getattr(package, name)(**arguments)
    optimizer = agent.default_optimizer()
    optimizer.learning_rate = 1e-3
    agent.compile(optimizer, steps_per_execution=execution)
    env = package.envs.make("CartPole-v1" if case.endswith("-gym") else "tf/CartPole-v1", num_envs)

    def train():
        began, seconds = [], []
        clock = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: began.append(time.perf_counter()),
            on_epoch_end=lambda epoch, logs: seconds.append(time.perf_counter() - began[-1]),
        )
        steps = rollouts * agent.updates_per_rollout(num_envs)
        agent.fit(env, epochs=EPOCHS, steps_per_epoch=steps, verbose=0, callbacks=[clock])
        return seconds[1:]  # the first may trace

    train()  # traces and compiles
    return train, rollouts * agent.rollout_steps * num_envs


def main():
    """Prints a row for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", help="a commit, tag or branch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--agents", nargs="+", choices=list(CASES), default=list(CASES), metavar="AGENT", help="default: all"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        before, after = package_of(args.revision, pathlib.Path(folder)), importlib.import_module(PACKAGE)
        print(f"{'':14s}{'before':>12s}{'after':>12s}   ratio (quartiles)")
        for case in args.agents:
            (train_before, steps), (train_after, _) = contestant(before, case), contestant(after, case)
            seconds: dict[Any, list[float]] = {train_before: [], train_after: []}
            for turn in range(args.rounds):
                for train in (train_before, train_after) if turn % 2 else (train_after, train_before):
                    seconds[train] += train()
            old, new = np.array(seconds[train_before]), np.array(seconds[train_after])
            low, middle, high = np.percentile(old / new, [25, 50, 75])
            rates = f"{steps / np.median(old):12,.0f}{steps / np.median(new):12,.0f}"
            print(f"{case:14s}{rates}   {middle:.3f} ({low:.2f}-{high:.2f})", flush=True)


main()
