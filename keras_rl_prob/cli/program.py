"""Runs the commands of the command line."""

import os
import sys
from collections.abc import Sequence

import tensorflow as tf

from keras_rl_prob import usage
from keras_rl_prob.cli.commands import evaluate, experiment, list_presets, play, plot, train, tune, visualize
from keras_rl_prob.cli.errors import UserError

COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "visualize": visualize,
    "play": play,
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
    Presets, by environment:
    ...
    0
    """
    args = usage.parse(argv)
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
