"""Gradient steps per second of SAC and TD3 beside stable-baselines3, SBX and the matrix products alone, and with memory.

    python benchmarks/actor_critics.py --sb3 PYTHON --sbx PYTHON [--envs 1 8] [--rounds 5] [--steps 960] [--agents ...]

PYTHON are interpreters that have the libraries: `pip install stable-baselines3 sbx-rl "gymnasium[mujoco]"`. Rows of a library
that is not given are left out.

One gradient step for each environment step: networks of two layers of 256, batches of 256, Pendulum and HalfCheetah through
Gymnasium. RecurrentSAC, with an LSTM for the first layer and 26 sequences of 10, is beside our own SAC. "Products" are the
matrix products of a gradient step alone, products of 256 by 256 matrices, one after the other: the ratio to them is the share
of the limit. Every contestant trains in a process of its own, and all of a row in turn, a round of `--steps` each, `--rounds`
times. The first round of each, which compiles and fills its buffer, does not count; the others give medians. A ratio is the
median over the rounds, beside the lowest and the highest.
"""

import argparse
import pathlib
import subprocess
import sys
from typing import Any

from rounds import add_options, compared, machine, pinned

SCRIPT = pathlib.Path(__file__).parent / "train_actor_critic.py"
TASKS = {"Pendulum": "Pendulum-v1", "HalfCheetah": "HalfCheetah-v5"}
OURS = "keras_rl_prob"


class Contestant:
    """A process that trains for a round whenever it is told to."""

    def __init__(self, command, steps):
        self.command, self.steps = [*map(str, command), "--steps", str(steps)], steps
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        self.process: Any = subprocess.Popen(self.command, **pipes)

    def rate(self):
        """Trains for a round; returns its steps per second."""
        self.process.stdin.write("\n")
        for line in self.process.stdout:
            if line.endswith(" seconds\n"):
                return self.steps / float(line.split()[0])
        return sys.exit(f"failed: {' '.join(self.command)}")

    def end(self):
        """Ends the process."""
        self.process.communicate()


def rates(commands, rounds, steps):
    """A list for each of the commands: its rates in the rounds, all in turn."""
    contestants = [Contestant(command, steps) for command in commands]
    try:
        found = [[contestant.rate() for contestant in contestants] for _ in range(rounds + 1)]
    finally:
        for contestant in contestants:
            contestant.end()
    return list(zip(*found[1:], strict=True))


def peers(agent, args):
    """List of (name, interpreter, library, agent) of what an agent is beside."""
    if agent.startswith("Recurrent"):
        return [(agent.removeprefix("Recurrent"), sys.executable, OURS, agent.removeprefix("Recurrent"))]
    others = [("stable-baselines3", args.sb3, "stable_baselines3"), ("SBX", args.sbx, "sbx")]
    found = [(name, python, library, agent) for name, python, library in others if python]
    return [*found, ("products", sys.executable, "products", agent)]


def main():
    """Prints a row for each task, number of environments, agent, and what it is beside."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, rounds=5)
    parser.add_argument("--steps", type=int, default=960, help="gradient steps in a round, a multiple of 16")
    parser.add_argument("--envs", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--agents", nargs="+", default=["SAC", "TD3", "RecurrentSAC"])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    args = parser.parse_args()
    print(f"{machine(args.cores)}\n\n| task | envs | agent | ours, steps/s | beside | steps/s | ratio | range |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    start = pinned(args.cores)
    for task in args.tasks:
        for envs in args.envs:
            for agent in args.agents:
                beside = peers(agent, args)
                commands = [
                    [*start, python, SCRIPT, library, made, TASKS[task], "--envs", envs]
                    for _, python, library, made in [("", sys.executable, OURS, agent), *beside]
                ]
                ours, *theirs = rates(commands, args.rounds, args.steps)
                for (name, *_), found in zip(beside, theirs, strict=True):
                    print(f"| {task} | {envs} | {agent} | {compared(ours, name, found)} |", flush=True)


main()
