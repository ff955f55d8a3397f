"""A `tf.data` source of rollouts: each element is a rollout and the data of the gradient steps on it."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_rl_prob.types import Nest


def rollout_source(collect: Callable[[], Any], prepare: Callable[[Any], Nest]) -> tf.data.Dataset:
    """An infinite data set that collects a rollout only after the last update on the previous one.

    Prefetching and autotuning are off: a rollout that was collected early would come from an outdated policy.

    Args:
        collect: Function without arguments that returns a rollout.
        prepare: Function from a rollout to a nest of tensors, the data of its updates.

    Returns:
        A `tf.data.Dataset`.
    """

    @tf.autograph.experimental.do_not_convert
    def next_rollout(_):
        rollout = collect()
        with tf.control_dependencies(tf.nest.flatten(rollout)):  # not counted if an environment raises
            return prepare(rollout)

    source = tf.data.Dataset.range(tf.int64.max).map(next_rollout)
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.inject_prefetch = False
    options.deterministic = True
    options.threading.private_threadpool_size = 1  # steps are sequential: more threads would only pass work around
    return source.with_options(options)
