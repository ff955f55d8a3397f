"""Checks of arguments; each raises an error that says what was expected and what was received."""

import keras

MAX_EVALUATION_ENVS = 32


def check_positive_integer(name, value):
    """Raises a `ValueError` unless `value` is an integer of at least 1."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")


def check_fraction(name, value):
    """Raises a `ValueError` unless `value` is between 0 and 1."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"`{name}` must be between 0 and 1. Received: {name}={value!r}")


def reject_supervised(unsupported, epochs=1):
    """Raises a `TypeError` for arguments that belong to supervised learning."""
    if unsupported:
        name, value = next(iter(unsupported.items()))
        raise TypeError(
            f"`{name}` is not an argument here: an agent learns from an environment, which makes its own data, targets and "
            f"batches. Received: {name}={value!r}"
        )
    if not isinstance(epochs, int):
        raise TypeError(f"`epochs` must be an integer (there is no `y` to fit). Received: epochs={epochs!r}")


def whole_rollouts(steps_per_epoch, updates, default):
    """`steps_per_epoch` as a whole number of rollouts; `default` of them for `None`."""
    if steps_per_epoch is None:
        return default * updates
    if not isinstance(steps_per_epoch, int) or steps_per_epoch < 1 or steps_per_epoch % updates:
        below = steps_per_epoch // updates * updates if isinstance(steps_per_epoch, int) else 0
        nearest = f"{below} or {below + updates}" if below > 0 else f"{updates}"
        raise ValueError(
            f"`steps_per_epoch` counts gradient steps and must be a multiple of the {updates} that one rollout gives, such as "
            f"{nearest}. Received: steps_per_epoch={steps_per_epoch!r}"
        )
    return steps_per_epoch


def evaluation_envs(episodes, kinds):
    """How many environments share `episodes` evenly, as many of each of `kinds` kinds; rounds the episodes up for it."""
    each = -(-episodes // kinds)
    most = max(1, min(each, MAX_EVALUATION_ENVS // kinds))
    return kinds * max(n for n in range(1, most + 1) if each % n == 0)


def whole_executions(steps_per_execution, updates, steps_per_epoch):
    """`steps_per_execution`, checked; `updates` for `None`."""
    execution = updates if steps_per_execution is None else steps_per_execution
    if not isinstance(execution, int) or execution < 1 or execution % updates or steps_per_epoch % execution:
        raise ValueError(
            f"`steps_per_execution` of `compile` must be a multiple of the {updates} gradient steps that one rollout gives and "
            f"divide the {steps_per_epoch} of an epoch. Received: steps_per_execution={execution!r}"
        )
    return execution


def current(coefficient, step):
    """The value at `step` of a number or a Keras schedule."""
    return (
        coefficient(step) if isinstance(coefficient, keras.optimizers.schedules.LearningRateSchedule) else coefficient
    )
