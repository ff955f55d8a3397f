"""List the presets and the native environments.

A preset can be used with another environment:
  keras-rl-prob train --config cartpole --set env.id=LunarLander-v3
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds nothing."""
