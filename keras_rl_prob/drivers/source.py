"""An environment-backed `tf.data` source: each element is the data of one gradient step."""

import tensorflow as tf


def rollout_source(collect, prepare, minibatches):
    """A dataset without end that collects a rollout only when the last update on the one before has landed.

    Nothing runs ahead of the consumer (prefetching and autotuning are off): a rollout collected early would have been
    collected by an agent that is out of date.

    Args:
        collect: Function without arguments that returns a rollout.
        prepare: Function from a rollout to the nest of tensors that `minibatches` takes, its advantages and targets.
        minibatches: Function from that nest to a `tf.data.Dataset` with one element for each gradient step.

    Returns:
        A `tf.data.Dataset`.
    """

    @tf.autograph.experimental.do_not_convert
    def next_rollout(_):
        return prepare(collect())

    @tf.autograph.experimental.do_not_convert
    def updates(*prepared):
        return minibatches(*prepared)

    source = tf.data.Dataset.range(tf.int64.max).map(next_rollout).flat_map(updates)
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.inject_prefetch = False
    options.deterministic = True
    options.threading.private_threadpool_size = 1  # one step waits for the other: threads would only hand over
    return source.with_options(options)
