"""Loops over time."""

import tensorflow as tf


def compiled(function):
    """A loop compiled with XLA also within a graph that is not, as one with convolutions on a CPU; plain when run eagerly."""
    return function if tf.executing_eagerly() else tf.function(function, jit_compile=True, autograph=False)


def loop(condition, body, start, steps):
    """`tf.while_loop` of at most so many steps, one after another."""
    return tf.while_loop(condition, body, start, maximum_iterations=steps, parallel_iterations=1)
