"""Reinforcement learning on the command line: train, resume, evaluate, watch,
compare and tune agents.

Start with
  keras-rl-prob list
  keras-rl-prob train CartPole-v1 --agent PPO
For the help of a command, with examples:
  keras-rl-prob COMMAND --help
"""  # noqa: D205 (this is what `--help` shows)

import argparse
import functools
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from keras_rl_prob.usage import evaluate, experiment, list_presets, play, plot, train, tune, visualize
from keras_rl_prob.usage.presets_table import presets_table
from keras_rl_prob.version import __version__

COMMANDS: dict[str, ModuleType] = {
    "train": train,
    "evaluate": evaluate,
    "visualize": visualize,
    "play": play,
    "plot": plot,
    "experiment": experiment,
    "tune": tune,
    "list": list_presets,
}
"""Dict from the names of commands to modules whose docstrings are their help."""
WIDTH = 80


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the arguments of a command; errors show the usage of that command.

    Args:
        argv: List of strings; by default the arguments of the process.

    Returns:
        The arguments, with the name of the command as `command`.

    Raises:
        SystemExit: `argv` cannot be parsed, or asks for help.
    """
    whole, commands = _parsers()
    args, unknown = whole.parse_known_args(argv)
    if unknown:
        commands[args.command].error(f"unrecognized arguments: {' '.join(unknown)}")
    return args


def answer_at_once(argv: Sequence[str]) -> None:
    """Exits if help, an error or a list is all that the arguments ask for."""
    if parse(argv).command == "list":
        try:
            sys.stdout.write(f"{presets_table()}\n")
            sys.stdout.flush()
        except (
            BrokenPipeError
        ):  # as with `| head`: nothing more is wanted, and Python's own flush at the end would fail too
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _parsers():
    """The parser of the whole command line, and a dict of those of its commands."""
    form: dict[str, Any] = {
        "formatter_class": functools.partial(argparse.RawDescriptionHelpFormatter, max_help_position=28, width=WIDTH)
    }
    whole = argparse.ArgumentParser("keras-rl-prob", description=__doc__, **form)
    whole.add_argument("--version", action="version", version=__version__)
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        summary = str(command.__doc__).splitlines()[0]
        command.add_arguments(commands.add_parser(name, help=summary, description=command.__doc__, **form))
    return whole, commands.choices
