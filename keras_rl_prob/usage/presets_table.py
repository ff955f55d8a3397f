"""The text of `list`."""

import shutil
import textwrap
from collections.abc import Iterator

from keras_rl_prob.catalog import NATIVE, PRESETS

LEAST = 60  # columns; narrower windows break the lines themselves


def presets_table(width: int | None = None) -> str:
    """The presets by environment, and the native environments, in lines that fit the window.

    Args:
        width: Columns of the window; by default those of the terminal, 80 if there is none.

    Example:
    >>> print(presets_table(80).splitlines()[0])
    Presets, by environment:
    """
    columns = max(LEAST, shutil.get_terminal_size().columns if width is None else width)
    by_env: dict[str, list[tuple[str, str, str]]] = {}
    for name, settings in sorted(PRESETS.items()):
        row = name, settings["agent"]["class"], settings["description"]
        by_env.setdefault(settings["env"]["id"], []).append(row)
    lines = ["Presets, by environment:"]
    for env, rows in sorted(by_env.items()):
        lines += ["", env]
        for name, agent, description in rows:
            lines += _row(f"  {name:<28}  {agent:<12}  ", description, columns)
    lines += ["", "Native environments:"]
    for env, description in sorted(NATIVE.items()):
        lines += _row(f"  {env:<32}  ", description, columns)
    return "\n".join(lines)


def _row(start: str, description: str, columns: int) -> Iterator[str]:
    """Lines of a row whose last cell is wrapped."""
    first, *more = textwrap.wrap(description, columns - len(start))
    yield start + first
    yield from (" " * len(start) + line for line in more)
