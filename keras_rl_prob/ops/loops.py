"""Loops over time."""

import tensorflow as tf


def compiled(function, worthwhile):
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


def loop(condition, body, start, steps):
    """`tf.while_loop` of at most so many steps, one after another."""
    return tf.while_loop(condition, body, start, maximum_iterations=steps, parallel_iterations=1)
