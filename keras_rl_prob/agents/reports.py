"""What `fit` reports: means over an epoch of what episodes and updates came to."""

import keras
import tensorflow as tf


class EpisodeMean(keras.metrics.Mean):
    """Mean over episodes; NaN, not 0, while none has finished."""

    def result(self):
        """Total over count."""
        return self.total / self.count


class Reports:
    """The metrics of an agent.

    Args:
        names: What the metrics besides `return` and `length` are called.

    Attributes:
        metrics: List of Keras metrics, episodes first.
    """

    def __init__(self, names):
        self._episodes = [EpisodeMean(name="return"), EpisodeMean(name="length")]
        self._updates = [keras.metrics.Mean(name=name) for name in names]
        self.metrics = self._episodes + self._updates

    def update(self, report, first, logs, updated):
        """Takes in one update.

        Args:
            report: Dict of float32 scalars that describe the rollout: sums `"return"` and `"length"` over the `"episodes"`
                that finished, and the metrics that `logs` does not have.
            first: Whether this is the first update on the rollout, which counts once.
            logs: Dict of scalars that describe the update.
            updated: Whether the update took place.
        """
        first, updated = tf.cast(first, tf.float32), tf.cast(updated, tf.float32)
        episodes = report["episodes"]
        for metric in self._episodes:
            mean = tf.math.divide_no_nan(report[metric.name], episodes)
            metric.update_state(mean, sample_weight=first * episodes)
        for metric in self._updates:
            if metric.name in logs:
                metric.update_state(logs[metric.name], sample_weight=updated)
            else:
                metric.update_state(report[metric.name], sample_weight=first)
