"""Checks of arguments, which public constructors and methods use.

Each function returns the value, with NumPy numbers as plain Python numbers, or raises an error that says what was expected and
what was received.
"""

import numbers
import os
from typing import Any

import keras
import numpy as np

from keras_rl_prob.settings import Schedule


def integer(name: str, value: Any, least: int = 1, none: bool = False) -> Any:
    """Checks for an integer of at least `least`, which may be a NumPy integer; `None` is allowed if `none`.

    Raises:
        ValueError: `value` is anything else, including a bool or a float such as 3.0.

    Example:
    >>> integer("capacity", np.int64(3))
    3
    >>> integer("capacity", 1e3)
    Traceback (most recent call last):
    ValueError: `capacity` must be a positive integer. Received: capacity=1000.0
    """
    if none and value is None:
        return None
    if not isinstance(value, numbers.Integral | np.integer) or isinstance(value, bool) or value < least:
        kind = "a positive integer" if least == 1 else f"an integer of at least {least}"
        raise ValueError(f"`{name}` must be {kind}{_or_none(none)}. Received: {name}={value!r}")
    return int(value)


def number(
    name: str,
    value: Any,
    least: float = 0.0,
    most: float | None = None,
    above: float | None = None,
    none: bool = False,
    schedule: bool = False,
) -> Any:
    """Checks for a finite real number.

    Args:
        name: Name of the argument.
        value: Value of the argument.
        least: Smallest number allowed.
        most: Largest number allowed, or `None`.
        above: Exclusive lower bound, instead of `least`.
        none: Whether `None` is allowed.
        schedule: Whether a Keras schedule is allowed.

    Raises:
        ValueError: `value` is anything else.

    Example:
    >>> number("value_coef", -1)
    Traceback (most recent call last):
    ValueError: `value_coef` must be a number of at least 0. Received: value_coef=-1
    """
    if (none and value is None) or (schedule and isinstance(value, Schedule)):
        return value
    real = isinstance(value, numbers.Real | np.floating | np.integer) and not isinstance(value, bool)
    fits = real and np.isfinite(value) and (value > above if above is not None else value >= least)
    if not fits or (most is not None and value > most):
        if most is not None:
            kind = f"between {least:g} and {most:g}"
        elif above is not None:
            kind = f"a number above {above:g}" if above else "a positive number"
        else:
            kind = f"a number of at least {least:g}" if np.isfinite(least) else "a finite number"
        more = ", or a schedule of `keras.optimizers.schedules`" if schedule else ""
        raise ValueError(f"`{name}` must be {kind}{more}{_or_none(none)}. Received: {name}={value!r}")
    return value.item() if isinstance(value, np.generic) else value


def fraction(name: str, value: Any) -> Any:
    """Checks for a number between 0 and 1."""
    return number(name, value, 0.0, 1.0)


def seed(name: str, value: Any, least: int = -(2**31), none: bool = False) -> Any:
    """Checks for an integer that can be a seed in TensorFlow, which may be a NumPy integer; `None` is allowed if `none`.

    Raises:
        ValueError: `value` is anything else, including a bool, or does not fit into 32 bits.
    """
    if none and value is None:
        return None
    whole = isinstance(value, numbers.Integral | np.integer) and not isinstance(value, bool)
    if not whole or not least <= value < 2**31:
        raise ValueError(
            f"`{name}` must be an integer from {least} to {2**31 - 1}{_or_none(none)}. Received: {name}={value!r}"
        )
    return int(value)


def flag(name: str, value: Any, *more: str) -> Any:
    """Checks for a bool, which may be a NumPy bool; the strings `more` are allowed too.

    Raises:
        ValueError: `value` is anything else, such as 1.

    Example:
    >>> flag("jit_compile", "yes", "auto")
    Traceback (most recent call last):
    ValueError: `jit_compile` must be a bool or "auto". Received: jit_compile='yes'
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if not isinstance(value, str) or value not in more:
        kinds = ["a bool", *(f'"{word}"' for word in more)]
        raise ValueError(f"`{name}` must be {' or '.join(kinds)}. Received: {name}={value!r}")
    return value


def widths(name: str, value: Any, least: int = 0) -> list[int]:
    """Checks for a list or tuple of at least `least` positive integers; returns a list.

    Raises:
        ValueError: `value` is anything else, such as a single integer.
    """
    values: list[Any] = list(value) if isinstance(value, list | tuple) else [None]
    if len(values) < least or not all(
        isinstance(x, numbers.Integral | np.integer) and not isinstance(x, bool) and int(x) >= 1 for x in values
    ):
        raise ValueError(f"`{name}` must be a tuple of positive integers, such as (64,). Received: {name}={value!r}")
    return [int(x) for x in values]


def text(name: str, value: Any) -> str:
    """Checks for a string that is not empty.

    Raises:
        ValueError: `value` is anything else.
    """
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{name}` must be a string. Received: {name}={value!r}")
    return value


def path(name: str, value: Any) -> str:
    """Checks for a path; returns it as a string.

    Raises:
        ValueError: `value` is neither a string nor an `os.PathLike`, such as a `pathlib.Path`.
    """
    if not isinstance(value, str | os.PathLike):
        raise ValueError(f"`{name}` must be a path. Received: {name}={value!r}")
    return os.fspath(value)


def instance(name: str, value: Any, kinds: tuple[type, ...], none: bool = True) -> Any:
    """Checks for an instance of one of several classes.

    Args:
        name: Name of the argument.
        value: Value of the argument.
        kinds: Tuple of classes.
        none: Whether `None` is allowed.

    Raises:
        ValueError: `value` is anything else.
    """
    if isinstance(value, kinds) or (none and value is None):
        return value
    expected = " or ".join(f"`krp.{kind.__name__}(...)`" for kind in kinds)
    raise ValueError(f"`{name}` must be {expected}{_or_none(none)}. Received: {name}={value!r}")


def model(name: str, value: Any) -> keras.Model:
    """Checks for a built Keras model.

    Raises:
        TypeError: `value` is not a Keras model.
        ValueError: The model is not built.
    """
    if not isinstance(value, keras.Model):
        raise TypeError(f"`{name}` must be a `keras.Model`. Received: {name}={value!r}")
    if not value.built:
        raise ValueError(
            f"`{name}` must be a built model, such as an agent after `build(env)`. Received: {name}={value!r}"
        )
    return value


def _or_none(none):
    return ", or `None`" if none else ""
