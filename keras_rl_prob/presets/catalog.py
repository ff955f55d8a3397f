"""Presets by name."""

import difflib
from collections.abc import Mapping
from typing import Any

from keras_rl_prob import checks
from keras_rl_prob.catalog import PRESETS


def names() -> list[str]:
    """Returns the names of the presets, a sorted list of strings."""
    return sorted(PRESETS)


def get(name: str) -> dict[str, Any]:
    """Returns a copy of a preset, a dict that may be changed.

    Args:
        name: One of `names()`.

    Raises:
        ValueError: There is no such preset.

    Example:
    >>> get("cartpole")["env"]
    {'id': 'tf/CartPole-v1', 'num_envs': 32}
    """
    if checks.text("name", name) not in PRESETS:
        near = difflib.get_close_matches(name.lower(), names())
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"`name` must be that of a preset.{hint} There are {names()}. Received: name={name!r}")
    return {"name": name, **_copy(PRESETS[name])}


def _copy(entries):
    return {key: _copy(x) if isinstance(x, Mapping) else x for key, x in entries.items()}
