"""Checks of arguments. Each returns what was given, as plain Python numbers, or says what was expected and what was received.

Public constructors and methods check with these and nothing else.
"""

import numbers
import os
from typing import Any

import keras
import numpy as np

from keras_rl_prob.settings import Schedule


def integer(name: str, value: Any, least: int = 1, none: bool = False) -> Any:
    """An integer of at least `least`, NumPy's included; `None` too if `none`.

    Raises:
        ValueError: It is something else; booleans and whole floats are.

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
    """A finite real number.

    Args:
        name: What the argument is called.
        value: What was given.
        least: Smallest number allowed.
        most: Largest number allowed, or `None`.
        above: What it must be greater than, in the place of `least`.
        none: Whether `None` will do.
        schedule: Whether a Keras schedule will do.

    Raises:
        ValueError: It is not.

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
    """A number between 0 and 1."""
    return number(name, value, 0.0, 1.0)


def seed(name: str, value: Any, least: int = -(2**31), none: bool = False) -> Any:
    """An integer that TensorFlow's random numbers can start from, NumPy's included; `None` too if `none`.

    Raises:
        ValueError: It is something else, booleans included, or does not fit into 32 bits.
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
    """A bool, NumPy's included; any of the strings `more` too.

    Raises:
        ValueError: It is something else, such as 1.

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
    """A list of positive integers, `least` of them or more.

    Raises:
        ValueError: It is something else, such as a single integer.
    """
    values: list[Any] = list(value) if isinstance(value, list | tuple) else [None]
    if len(values) < least or not all(
        isinstance(x, numbers.Integral | np.integer) and not isinstance(x, bool) and int(x) >= 1 for x in values
    ):
        raise ValueError(f"`{name}` must be a tuple of positive integers, such as (64,). Received: {name}={value!r}")
    return [int(x) for x in values]


def text(name: str, value: Any) -> str:
    """A string that is not empty.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{name}` must be a string. Received: {name}={value!r}")
    return value


def path(name: str, value: Any) -> str:
    """A path, as a string.

    Raises:
        ValueError: It is neither a string nor a `pathlib.Path`.
    """
    if not isinstance(value, str | os.PathLike):
        raise ValueError(f"`{name}` must be a path. Received: {name}={value!r}")
    return os.fspath(value)


def instance(name: str, value: Any, kinds: tuple[type, ...], none: bool = True) -> Any:
    """An object of one of several classes; `None` too if `none`.

    Args:
        name: What the argument is called.
        value: What was given.
        kinds: Tuple of classes.
        none: Whether `None` will do.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(value, kinds) or (none and value is None):
        return value
    expected = " or ".join(f"`krp.{kind.__name__}(...)`" for kind in kinds)
    raise ValueError(f"`{name}` must be {expected}{_or_none(none)}. Received: {name}={value!r}")


def model(name: str, value: Any) -> keras.Model:
    """A Keras model that has been built.

    Raises:
        TypeError: It is no model.
        ValueError: It has no weights yet.
    """
    if not isinstance(value, keras.Model):
        raise TypeError(f"`{name}` must be a `keras.Model`. Received: {name}={value!r}")
    if not value.built:
        raise ValueError(f"`{name}` must be a built model, an agent by `build(env)`. Received: {name}={value!r}")
    return value


def _or_none(none):
    return ", or `None`" if none else ""
