"""Plots of learning curves from logs."""

import contextlib
import csv
import itertools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_rl_prob import checks
from keras_rl_prob.learning.persistence import write_whole
from keras_rl_prob.types import Path

EVALUATIONS = ("val_return", "eval_return")
BANDS = {"range": "their range", "deviation": "a standard deviation to each side"}
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d")  # Okabe and Ito's


def plot_learning_curves(
    runs: Mapping[str, Sequence[Path]],
    path: Path,
    title: str | None = None,
    metric: str | None = None,
    smoothing: int = 1,
    band: str = "range",
    colours: Sequence[Any] = COLOURS,
) -> None:
    """Plots the return over environment steps of several runs: a line for the mean over seeds, a band for their range.

    The band goes from the worst seed to the best, or a standard deviation to each side; each seed is a thin line. Mean and band
    cover the steps that all seeds of a label have reached, interpolated linearly between epochs. Returns are those of
    evaluations, `val_return` or else `eval_return`, if all seeds of a label have them, and else those of training episodes;
    the plot says which. Needs Matplotlib: `pip install "keras_rl_prob[plot]"`.

    Args:
        runs: Dict from a label to the list of its CSV logs, one for each seed, as `RunLog` and `CSVLogger` write them.
        path: File of the plot; the suffix sets the format, such as PNG. Its folder is created if necessary.
        title: Title of the plot.
        metric: Column of the logs in place of the return, such as `"entropy"`.
        smoothing: Number of epochs over which the curve of each seed is averaged: those up to a point.
        band: `"range"`, or `"deviation"` for the mean plus and minus the standard deviation of the seeds.
        colours: Matplotlib's colours of the labels, taken in turn.

    Raises:
        ValueError: `runs` is empty, a log has no environment steps with such a value, or another argument is wrong.
        ImportError: Matplotlib is missing.

    Example:
    ```python
    runs = {"PPO": ["runs/ppo_0/log.csv", "runs/ppo_1/log.csv"], "RecurrentPPO": ["runs/rppo_0/log.csv"]}
    krp.callbacks.plot_learning_curves(runs, "comparison.png", title="CartPole-v1")
    ```
    """
    if (
        not runs
        or not isinstance(runs, dict)
        or any(isinstance(logs, str | os.PathLike) or not logs for logs in runs.values())
    ):
        raise ValueError(f'`runs` must be like {{"PPO": ["seed_0.csv", "seed_1.csv"]}}. Received: runs={runs!r}')
    smoothing = checks.integer("smoothing", smoothing)
    if band not in BANDS:
        raise ValueError(f"`band` must be one of {list(BANDS)}. Received: band={band!r}")
    if isinstance(colours, str) or not len(colours):
        raise ValueError(f'`colours` must be a list such as ["tab:blue", "#d55e00"]. Received: colours={colours!r}')
    if metric is not None:
        checks.text("metric", metric)
    curves = {label: _seeds(logs, metric, smoothing) for label, logs in runs.items()}
    kinds = {kind for kind, _ in curves.values()}
    unit = metric or ("mean return" if len(kinds) > 1 else f"mean return of {min(kinds)}")
    several = any(len(seeds) > 1 for _, seeds in curves.values())
    with picture(path, title, f"line: mean of the seeds, band: {BANDS[band]}" if several else None) as axes:
        axes.set_ylabel(unit)
        for (label, (kind, seeds)), colour in zip(curves.items(), itertools.cycle(colours), strict=False):
            label = f"{label} ({len(seeds)} seeds)" if len(seeds) > 1 else str(label)
            _draw(axes, seeds, f"{label}, {kind}" if len(kinds) > 1 else label, colour, band)


@contextlib.contextmanager
def picture(path: Path, title: str | None, note: str | None = None) -> Iterator[Any]:
    """Context manager of Matplotlib axes over environment steps; at its end the plot is saved to `path`, with a legend.

    Args:
        path: File of the plot; the suffix sets the format.
        title: Title of the plot.
        note: Title of the legend.
    """
    path = pathlib.Path(path)
    figure = figure_class()(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="environment steps", ylabel="mean return", title=title or "")
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    yield axes
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=2, frameon=False, title=note, title_fontsize="small"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda part: figure.savefig(part, dpi=150, format=path.suffix[1:] or "png"))


def check_picture(path: pathlib.Path) -> None:
    """Creates the folder of a plot; raises an error if it cannot be written to, or a `ValueError` for an unknown suffix."""
    known = figure_class()().canvas.get_supported_filetypes()
    if (path.suffix[1:].lower() or "png") not in known:
        raise ValueError(f"`path` must have one of the suffixes {sorted(known)}. Received: path={str(path)!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"`path` must be in a folder that can be written to. Received: path={str(path)!r}")


def read_log(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV log, a list of dicts of strings."""
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        return list(csv.DictReader(file))


def curve(rows: Sequence[Mapping[str, Any]], *columns: str) -> np.ndarray:
    """The points of the learning curve in the first of `columns` that has any values.

    Args:
        rows: List of dicts of numbers, or of strings as in a CSV file.
        *columns: Names of returns.

    Returns:
        float64 `[2, points]`: environment steps in ascending order, and returns; points that are not finite are left out.
    """
    for column in columns:
        points = np.array([(_number(row.get("env_steps")), _number(row.get(column))) for row in rows]).reshape(-1, 2)
        points = points[np.isfinite(points).all(axis=1)]
        if len(points):
            break
    return points[np.argsort(points[:, 0], kind="stable")].T


def _seeds(logs, metric, smoothing):
    """The kind of returns of a label, and the curve of each of its logs."""
    logs = {str(log): read_log(log) for log in logs}
    returns = {"evaluations": EVALUATIONS, "training episodes": ("return",)}
    for kind, columns in ({metric: (metric,)} if metric else returns).items():
        curves = {path: curve(rows, *columns) for path, rows in logs.items()}
        if all(points.size for points in curves.values()):
            return kind, [np.stack([steps, _smooth(values, smoothing)]) for steps, values in curves.values()]
    path = next(path for path, points in curves.items() if not points.size)
    raise ValueError(
        f"`runs` must list CSV logs with numbers in the columns `env_steps` and `{metric or 'return'}`. "
        f"Received: {path!r} with the columns {list(logs[path][0]) if logs[path] else []}"
    )


def _smooth(values, width):
    """The mean of each value and of up to `width - 1` before it."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width, 0)
    return values if width == 1 else (sums[ends] - sums[starts]) / (ends - starts)


def _draw(axes, seeds, label, colour, band):
    for steps, returns in seeds:
        axes.plot(steps, returns, color=colour, linewidth=0.8, alpha=0.35)
    first, last = max(steps[0] for steps, _ in seeds), min(steps[-1] for steps, _ in seeds)
    grid = np.unique(np.concatenate([steps for steps, _ in seeds]))
    grid = grid[(grid >= first) & (grid <= last)]
    returns = np.array([np.interp(grid, *points) for points in seeds])  # [seeds, points]
    low, high = returns.min(0), returns.max(0)
    if band == "deviation":
        low, high = returns.mean(0) - returns.std(0), returns.mean(0) + returns.std(0)
    axes.fill_between(grid, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(grid, returns.mean(0), color=colour, linewidth=2, label=label)


def _number(value):
    try:
        return float(value)
    except (TypeError, ValueError):  # None, or a text such as Keras' `NA`
        return np.nan


def figure_class() -> type:
    """Matplotlib's `Figure`, which needs no window and no global state."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 (optional dependency)
    except ImportError as error:
        raise ImportError('Plots need Matplotlib: pip install "keras_rl_prob[plot]"') from error
    return Figure
