"""An environment-backed `tf.data` source: each element is a rollout and the data of the gradient steps on it."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_rl_prob.types import Nest


def rollout_source(collect: Callable[[], Any], prepare: Callable[[Any], Nest]) -> tf.data.Dataset:
    """A dataset without end that collects a rollout only when the last update on the one before has landed.

    Nothing runs ahead of the consumer (prefetching and autotuning are off): a rollout collected early would have been
    collected by an agent that is out of date.

    Args:
        collect: Function without arguments that returns a rollout.
        prepare: Function from a rollout to a nest of tensors, what is learned from.

    Returns:
        A `tf.data.Dataset`.
    """

    @tf.autograph.experimental.do_not_convert
    def next_rollout(_):
        rollout = collect()
        with tf.control_dependencies(tf.nest.flatten(rollout)):  # where an environment fails, nothing is counted
            return prepare(rollout)

    source = tf.data.Dataset.range(tf.int64.max).map(next_rollout)
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.inject_prefetch = False
    options.deterministic = True
    options.threading.private_threadpool_size = 1  # one step waits for the other: threads would only hand over
    return source.with_options(options)
