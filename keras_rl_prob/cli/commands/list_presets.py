"""`list`: prints the presets and the native environments."""

import argparse

from keras_rl_prob.usage import presets_table


def run(args: argparse.Namespace) -> None:
    """Prints."""
    print(presets_table())
