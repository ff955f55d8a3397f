"""What a line of progress says, and how it fits into a window."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

BAR = 12
"""Columns of the bar, if there is room."""
LEAST_BAR = 4
KEPT = ("return", "steps", "val_return", "rate", "length")
"""The fields that are always shown if there is room, beginning with those that stay longest."""


def line(
    columns: int, epoch: str, bar: float | None, fields: Mapping[str, str], end: str = "", unicode: bool = True
) -> str:
    """One line of progress that fits into a window.

    Where there is no room, these are left out in this order: fields that are not in `KEPT`, words, the bar, `end`, fields.

    Args:
        columns: Columns of the window; the last stays empty, since some terminals would begin a new line.
        epoch: The epoch of how many, as in `"3/10"`.
        bar: The part of the epoch that is done, from 0 to 1, or `None` for no bar.
        fields: Dict from names to values; those that are empty are left out.
        end: What is last, such as the time left.
        unicode: Whether there are other characters than those of ASCII.

    Example:
    >>> line(80, "3/10", 0.5, {"steps": "81,080/410k", "return": "121.3"}, "0:12", unicode=False)
    'Epoch 3/10 ======...... 81,080/410k steps  return 121.3  0:12'
    >>> line(20, "3/10", 0.5, {"steps": "81,080/410k", "return": "121.3"}, "0:12", unicode=False)
    '3/10 return 121.3'
    """
    room = columns - 1
    known = {name: value for name, value in fields.items() if value}
    usual = {name: value for name, value in known.items() if name in KEPT}
    for words, shown in ((True, known), (True, usual), (False, usual)):
        parts = [*(_labelled(name, value, words) for name, value in shown.items()), end]
        start = f"Epoch {epoch}" if words else epoch
        free = room - len(_joined([start, *parts], words))
        if bar is None and free >= 0:
            return _joined([start, *parts], words)
        if bar is not None and free > LEAST_BAR:
            return _joined([f"{start} {_bar(bar, min(BAR, free - 1), unicode)}", *parts], words)
    for count in range(len(KEPT), 0, -1):
        texts = [_labelled(name, value, False) for name, value in usual.items() if name in KEPT[:count]]
        for last in (end, ""):
            text = _joined([epoch, *texts, last], False)
            if len(text) <= room:
                return text
    return epoch[:room]


def first_line(columns: int, num_envs: int, steps_per_epoch: int, more: str = "") -> str:
    """What `fit` says before the first epoch, as much of it as fits into a window.

    Args:
        columns: Columns of the window.
        num_envs: Number of environments.
        steps_per_epoch: Their steps in an epoch.
        more: What gives more environments; empty for nothing.

    Example:
    >>> first_line(80, 32, 40960, "`num_envs`")
    '32 environments, 40,960 steps an epoch; `num_envs` for more'
    >>> first_line(40, 1, 1280, "`num_envs`")
    '1 environment, 1,280 steps an epoch'
    """
    envs = f"{num_envs:,} environment{'s' if num_envs > 1 else ''}"
    steps = f"{steps_per_epoch:,} steps an epoch"
    texts = [f"{envs}, {steps}", envs, f"{num_envs:,} envs"]
    texts = [f"{texts[0]}; {more} for more", *texts] if more else texts
    return next((text for text in texts if len(text) < columns), "")


def _labelled(name, value, words):
    if name == "steps":
        return f"{value} steps" if words else value
    return value if name == "rate" else f"{name} {value}"


def _joined(parts: Sequence[str], words: bool) -> str:
    """The parts with gaps between them; one blank after the epoch."""
    first, *rest = filter(None, parts)
    gap = "  " if words else " "
    return f"{first} {gap.join(rest)}" if rest else first


def _bar(done, width, unicode):
    full, rest = ("━", "─") if unicode else ("=", ".")
    count = min(width, int(width * done + 1e-9))
    return full * count + rest * (width - count)


def number(value: Any) -> str:
    """A number in a few characters, four digits of it; empty if it is not known, NaN.

    Example:
    >>> [number(x) for x in (500.0, -1121.34, 0.98765, 0, float("nan"), 123456.7, 2.5e9)]
    ['500.0', '-1121', '0.9877', '0.000', '', '123457', '2.500e+09']
    """
    value = float(value)
    if math.isnan(value):
        return ""
    return f"{value:.0f}" if 1e3 <= abs(value) < 1e7 else f"{value:#.4g}"


def rounded(value: float) -> str:
    """A count in three digits.

    Example:
    >>> [rounded(x) for x in (7, 999, 30615, 409600, 1_234_567, 5000, 2e9)]
    ['7', '999', '30.6k', '410k', '1.23M', '5.00k', '2.00G']
    """
    if value < 999.5:
        return f"{value:.3g}"
    for unit in "kMG":
        value /= 1000
        if value < 999.5 or unit == "G":
            break
    return f"{value:#.3g}".removesuffix(".") + unit


def duration(seconds: float) -> str:
    """Seconds as `m:ss` or `h:mm:ss`.

    Example:
    >>> [duration(x) for x in (0.4, 72, 3723)]
    ['0:00', '1:12', '1:02:03']
    """
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
