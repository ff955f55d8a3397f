"""`plot`: draws the learning curves of runs."""

import argparse
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from keras_rl_prob import callbacks
from keras_rl_prob.cli import runs
from keras_rl_prob.cli.errors import blaming
from keras_rl_prob.presets.configuration import NOTES
from keras_rl_prob.types import Path


def run(args: argparse.Namespace) -> None:
    """Plots and prints the path."""
    folders = [run for folder in args.runs for run in runs.runs_in(folder)]
    colours = {"colours": args.colours} if args.colours else {}
    draw(folders, args.out, args.title, metric=args.metric, smoothing=args.smoothing, band=args.band, **colours)
    print(f"Wrote {args.out}")


def draw(folders: Sequence[pathlib.Path], path: Path, title: str | None = None, **how: Any) -> None:
    """Plots the runs in these folders to the file `path`; `how` are further arguments of `plot_learning_curves`."""
    configs = {folder: runs.read_config(folder) for folder in folders}
    logs: dict[str, list[pathlib.Path]] = {}
    for folder, label in labels(configs).items():
        logs.setdefault(label, []).append(folder / runs.LOG)
    ids = sorted({config["env"]["id"] for config in configs.values()})
    with blaming(None, ValueError, ImportError):
        callbacks.plot_learning_curves(logs, path, title or ", ".join(ids), **how)


def labels(configs: Mapping[Any, dict[str, Any]]) -> dict[Any, str]:
    """Labels of curves: the names of their configurations, with settings where names are not enough.

    Args:
        configs: Dict from anything to configurations.

    Returns:
        Dict from the same keys to labels, equal where configurations differ only in the seed.

    Example:
    >>> labels({"a": {"name": "x", "seed": 1}, "b": {"name": "x", "seed": 2}, "c": {"name": "y", "seed": 1}})
    {'a': 'x', 'b': 'x', 'c': 'y'}
    """
    settings = {key: dict(_flat(config)) for key, config in configs.items()}
    result = {}
    for key, config in configs.items():
        others = [settings[other] for other in configs if configs[other].get("name") == config.get("name")]
        mine = settings[key]
        differing = sorted(name for name in mine if any(other.get(name) != mine[name] for other in others))
        parts = [f"{name.rpartition('.')[2]}={mine[name]}" for name in differing]
        result[key] = " ".join([str(config.get("name")), *parts])
    return result


def _flat(entries, path=""):
    for name, value in entries.items():
        if path or name not in (*NOTES, "fit"):  # `fit`: number of epochs and evaluations
            if isinstance(value, dict) and value:
                yield from _flat(value, f"{path}{name}.")
            else:
                yield f"{path}{name}", str(value)
