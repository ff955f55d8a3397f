"""`--config` and `--set`: the configuration that the command line's arguments describe."""

import argparse
import json
import pathlib
import random
from collections.abc import Iterator
from typing import Any

import gymnasium

from keras_rl_prob import presets
from keras_rl_prob.cli.errors import UserError, blaming

PYTHONIC = {"None": None, "True": True, "False": False}
# Exceptions of configurations from which no agent or environment can be made.
WRONG = (ValueError, TypeError, ImportError, gymnasium.error.Error)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--config`, `--set`, `--epochs` and `--seed`."""
    parser.add_argument(
        "--config", metavar="NAME|FILE", help="a preset (see `list`) or a JSON file like a run's config.json"
    )
    parser.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        help="change a setting, as in agent.clip_ratio=0.1; VALUE is JSON or else a string; may be repeated",
    )
    parser.add_argument("--epochs", type=positive, metavar="N", help="short for --set fit.epochs=N")
    parser.add_argument(
        "--seed", type=seed, metavar="N", help="determines all random numbers; default: a random one, which is recorded"
    )


def from_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The complete configuration for the arguments."""
    config = asked(args)
    with blaming(None, *WRONG):
        return presets.complete(config)


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """The configuration for `--config`, `--set`, `--epochs` and `--seed`, without defaults, and with a seed."""
    config = load(args.config)
    config.setdefault("seed", random.randrange(2**31))
    if args.seed is not None:
        config["seed"] = args.seed
    with blaming(None, ValueError):
        for key, new in overrides(args):
            presets.assign(config, key, new)
        presets.check(config)
    return config


def load(name: str) -> dict[str, Any]:
    """The configuration of a preset, or in a JSON file."""
    if not name:
        raise UserError(f"--config is needed: a JSON file, or one of {', '.join(presets.names())}")
    path = pathlib.Path(name)
    if path.suffix != ".json":
        with blaming("--config takes a preset or a .json file", ValueError):
            return presets.get(name)
    config = read(path)
    with blaming(f"{path} is not a configuration", ValueError):
        presets.check(config)
    return {"name": path.parent.name if path.stem == "config" else path.stem} | config


def read(path: pathlib.Path) -> Any:
    """The content of a JSON file."""
    with blaming(f"{path} cannot be read as JSON", ValueError, OSError):
        return json.loads(path.read_text(encoding="utf-8"))


def overrides(args: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """Pairs of key and value from `--set` and `--epochs`."""
    for text in args.set:
        key, equals, new = text.partition("=")
        if not equals or not key:
            raise UserError(f"--set takes SECTION.KEY=VALUE, as in agent.clip_ratio=0.1. Received: {text!r}")
        yield key, value(new)
    if args.epochs is not None:
        yield "fit.epochs", args.epochs


def positive(text: str) -> int:
    """Parses a positive integer."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer. Received: {text!r}")
    return int(text)


def seed(text: str) -> int:
    """Parses a seed."""
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"must be an integer from 0 to {2**31 - 1}. Received: {text!r}")
    return int(text)


def check_last_seed(first: int, count: int) -> None:
    """Raises a `UserError` if `count` seeds from `first` on exceed the largest seed."""
    if first + count > 2**31:
        raise UserError(f"--seed must leave room for {count} seeds below 2**31. Received: {first}")


def value(text: str) -> Any:
    """Parses a value: JSON, or else a string."""
    try:
        return json.loads(text)
    except ValueError:
        return PYTHONIC.get(text, text)
