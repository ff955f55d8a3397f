"""Checks of the arguments of `fit`, `evaluate` and `compile`."""

import numbers
from typing import Any

import keras

from keras_rl_prob.checks import integer

MAX_EVALUATION_ENVS = 32


def whole_rollouts(steps_per_epoch: int | None, updates: int, default: int) -> int:
    """Returns `steps_per_epoch`, checked to be whole rollouts; that of `default` rollouts for `None`."""
    if steps_per_epoch is None:
        return default * updates
    steps_per_epoch = integer("steps_per_epoch", steps_per_epoch)
    if steps_per_epoch % updates:
        below = steps_per_epoch // updates * updates
        nearest = f"{below} or {below + updates}" if below > 0 else f"{updates}"
        raise ValueError(
            f"`steps_per_epoch` counts gradient steps and must be a multiple of the {updates} that one rollout gives, such as "
            f"{nearest}. Received: steps_per_epoch={steps_per_epoch!r}"
        )
    return steps_per_epoch


def evaluation_envs(episodes: int, kinds: int) -> int:
    """Number of environments for `episodes` such that each plays the same number and each of `kinds` kinds has as many."""
    each = -(-episodes // kinds)
    most = max(1, min(each, MAX_EVALUATION_ENVS // kinds))
    return kinds * max(n for n in range(1, most + 1) if each % n == 0)


def whole_executions(steps_per_execution: int | None, updates: int, steps_per_epoch: int | None) -> int:
    """Returns `steps_per_execution`, checked; `updates` for `None`. `steps_per_epoch` is `None` if epochs end of themselves."""
    execution = updates if steps_per_execution is None else steps_per_execution
    if (
        not isinstance(execution, numbers.Integral)
        or execution < 1
        or execution % updates
        or (steps_per_epoch or execution) % execution
    ):
        ends = f" and divide the {steps_per_epoch} of an epoch" if steps_per_epoch else ""
        raise ValueError(
            f"`steps_per_execution` of `compile` must be a multiple of the {updates} gradient steps that one rollout gives"
            f"{ends}. Received: steps_per_execution={execution!r}"
        )
    return int(execution)


def checked_optimizer(optimizer: Any) -> Any:
    """Returns a Keras optimizer for an optimizer or its name; for a dict, a dict of them."""
    if isinstance(optimizer, dict) and optimizer and "class_name" not in optimizer:
        return {name: checked_optimizer(value) for name, value in optimizer.items()}
    try:
        return keras.optimizers.get(optimizer)
    except ValueError:
        raise ValueError(
            f"`optimizer` must be a Keras optimizer, the name of one, or `None`. Received: optimizer={optimizer!r}"
        ) from None
