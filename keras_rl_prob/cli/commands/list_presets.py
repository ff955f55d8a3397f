"""List the presets and the native environments.

A preset can be used with another environment:
  keras-rl-prob train --config cartpole --set env.id=LunarLander-v3
"""

import argparse

from keras_rl_prob import envs, presets


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds nothing."""


def run(args: argparse.Namespace) -> None:
    """Prints."""
    rows = [("preset", "agent", "environment", "")]
    for name in presets.names():
        config = presets.get(name)
        rows.append((name, config["agent"]["class"], config["env"]["id"], config["description"]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print("\nnative environments:")
    for name in envs.native_ids():
        print(f"  {name}")
