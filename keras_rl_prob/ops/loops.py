"""Loops over time."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_rl_prob.types import Nest


def compiled(function: Callable[..., Any], worthwhile: bool) -> Callable[..., Any]:
    """A loop compiled with XLA also within a graph that is not, as one with convolutions on a CPU.

    Args:
        function: What holds the loop.
        worthwhile: Whether there are enough steps for it: a plain graph takes some 30 microseconds more for each, compiling
            takes up to a second once.

    Returns:
        A function like `function`; itself if it is not worthwhile, and when run eagerly.
    """
    if tf.executing_eagerly() or not worthwhile:
        return function
    return tf.function(function, jit_compile=True, autograph=False)


def loop(condition: Callable[..., tf.Tensor], body: Callable[..., Any], start: Nest, steps: int) -> Any:
    """`tf.while_loop` of at most so many steps, one after another."""
    return tf.while_loop(condition, body, start, maximum_iterations=steps, parallel_iterations=1)
