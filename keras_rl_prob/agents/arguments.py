"""Checks of the arguments of `fit`, `evaluate` and `compile`."""

from typing import Any

import keras

MAX_EVALUATION_ENVS = 32


def evaluation_envs(episodes: int, kinds: int) -> int:
    """Number of environments for `episodes` such that each plays the same number and each of `kinds` kinds has as many."""
    each = -(-episodes // kinds)
    most = max(1, min(each, MAX_EVALUATION_ENVS // kinds))
    return kinds * max(n for n in range(1, most + 1) if each % n == 0)


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
