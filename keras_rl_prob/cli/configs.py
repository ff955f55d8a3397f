"""The configuration that the command line's arguments describe: an environment or `--config`, and `--set`."""

import argparse
import json
import pathlib
import random
from collections.abc import Iterator
from typing import Any

import gymnasium

from keras_rl_prob import presets
from keras_rl_prob.cli.errors import UserError, blaming
from keras_rl_prob.presets.construction import default_optimizer
from keras_rl_prob.usage.arguments import AGENT

PYTHONIC = {"None": None, "True": True, "False": False}
# Exceptions of configurations from which no agent or environment can be made.
WRONG = (ValueError, TypeError, ImportError, gymnasium.error.Error)


def from_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The complete configuration for the arguments."""
    config = asked(args)
    with blaming(None, *WRONG):
        return presets.complete(config)


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """The configuration for what was named, `--set`, its short forms and `--seed`, without defaults, and with a seed."""
    config = load(args.config) if args.config else without_preset(args.env, args.agent)
    if args.config and (args.env or args.agent):
        raise UserError(
            "Either an environment and --agent, or --config, whose environment and agent change with --set env.id=ENV "
            f"and --set agent.class=CLASS. Received: {args.env or args.agent} and --config {args.config}"
        )
    config.setdefault("seed", random.randrange(2**31))
    if args.seed is not None:
        config["seed"] = args.seed
    with blaming(None, ValueError):
        for key, new in overrides(args):
            presets.assign(config, key, new)
        presets.check(config)
    return config


def changes(args: argparse.Namespace) -> dict[str, Any]:
    """All that the arguments ask for, by dotted key; empty if the configuration is to be as it is."""
    named = {"config": args.config, "env.id": args.env, "agent.class": args.agent, "seed": args.seed}
    return {key: new for key, new in named.items() if new is not None} | dict(overrides(args))


def without_preset(env_id: str | None, agent: str | None) -> dict[str, Any]:
    """The configuration of an agent with its defaults, the optimizer included, for an environment."""
    if not env_id:
        raise UserError(
            "An environment is needed, as in `CartPole-v1 --agent PPO`, or --config with a JSON file or a preset "
            "(`keras-rl-prob list`)"
        )
    if env_id in presets.names():
        raise UserError(f"{env_id} is a preset: --config {env_id}")
    config = {"name": f"{env_id}-{agent or AGENT}", "env": {"id": env_id}, "agent": {"class": agent or AGENT}}
    with blaming(None, *WRONG):
        return config | {"optimizer": default_optimizer(config)}


def load(name: str) -> dict[str, Any]:
    """The configuration of a preset, or in a JSON file."""
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
    """Pairs of key and value from `--set` and its short forms."""
    for text in args.set:
        key, equals, new = text.partition("=")
        if not equals or not key:
            raise UserError(f"--set takes SECTION.KEY=VALUE, as in agent.clip_ratio=0.1. Received: {text!r}")
        yield key, value(new)
    short = {"fit.epochs": args.epochs, "fit.env_steps": args.env_steps, "env.processes": args.env_processes}
    yield from ((key, new) for key, new in short.items() if new is not None)


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
