"""Reinforcement learning on the command line: train, resume, evaluate, visualize, compare and tune agents.

Start with
  keras-rl-prob list
  keras-rl-prob train --config cartpole
For the help of a command, with examples:
  keras-rl-prob COMMAND --help
"""

import argparse
import functools
import os
import sys
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_rl_prob.cli.commands import evaluate, experiment, list_presets, plot, train, tune, visualize
from keras_rl_prob.cli.errors import UserError
from keras_rl_prob.version import __version__

COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "visualize": visualize,
    "plot": plot,
    "experiment": experiment,
    "tune": tune,
    "list": list_presets,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program.

    Args:
        argv: List of strings; by default the arguments of the process.

    Returns:
        Exit status: 0 on success, 1 if training failed or for an error of the operating system, 2 for an error of the user,
        130 after Ctrl-C and 143 after SIGTERM.

    Raises:
        SystemExit: `argv` cannot be parsed, or asks for help.

    Example:
    >>> main(["list"])  # doctest: +ELLIPSIS
    preset ...
    0
    """
    args = _parser().parse_args(argv)
    if "" not in sys.path and os.getcwd() not in sys.path:  # as with `python -m`, for `env.id=mymodule:My-v0`
        sys.path.insert(0, os.getcwd())
    tf.get_logger().setLevel("ERROR")  # its warnings about retracing are of no use here
    try:
        return COMMANDS[args.command].run(args) or 0
    except KeyboardInterrupt:
        return 130
    except (UserError, FloatingPointError, OSError) as error:
        print(f"keras-rl-prob {args.command}: {_words(error)}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1


def _words(error):
    """The text of an error, in a line or two."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _parser():
    form: dict[str, Any] = {
        "formatter_class": functools.partial(argparse.RawDescriptionHelpFormatter, max_help_position=28, width=100)
    }
    parser = argparse.ArgumentParser("keras-rl-prob", description=__doc__, **form)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        summary = str(command.__doc__).splitlines()[0]
        command.add_arguments(commands.add_parser(name, help=summary, description=command.__doc__, **form))
    return parser
