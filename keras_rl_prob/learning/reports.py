"""Metrics of `fit`: means over the episodes and updates of an epoch, and those that `compile(metrics=...)` adds."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_rl_prob.learning import failures

GRADIENT_NORMS = ("gradient_norm", "gradient_norm_of_layers")


class ScalarMean(keras.metrics.Mean):
    """Weighted mean of scalars, which takes a quarter of the operations of a mean of tensors of any shape."""

    def update_state(self, value: tf.Tensor | float, sample_weight: tf.Tensor | float = 1.0) -> None:
        """Adds a scalar."""
        weight = tf.cast(sample_weight, tf.float32)
        self.total.value.assign_add(tf.cast(value, tf.float32) * weight, read_value=False)
        self.count.value.assign_add(weight, read_value=False)

    def result(self) -> tf.Tensor:
        """Total over count, or 0 if nothing has been added."""
        return tf.math.divide_no_nan(self.total.value, self.count.value)


class EpisodeMean(ScalarMean):
    """Mean over episodes; NaN, not 0, if none has ended."""

    def result(self) -> tf.Tensor:
        """Total over count."""
        return self.total / self.count


class Reports:
    """The metrics of an agent.

    Args:
        names: Names of the metrics besides `return` and `length`; other entries that a subclass of an agent logs get a metric
            when they first occur.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._episodes = [EpisodeMean(name="return"), EpisodeMean(name="length")]
        self._updates = [ScalarMean(name=name) for name in names]
        self._from_loss: dict[str, keras.metrics.Metric] = {}  # by name
        self._from_step: dict[str, keras.metrics.Metric] = {}  # by name

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """List of Keras metrics, episodes first."""
        return [*self._episodes, *self._updates, *self._from_loss.values(), *self._from_step.values()]

    def follow(self, logs: dict[str, Any]) -> None:
        """Adds entries that a subclass's `train_step` returns besides the metrics."""
        known = {metric.name for metric in [*self._episodes, *self._updates]} | {"env_steps", *self._from_loss}
        for name in sorted(set(logs) - known):
            _named(name, self._from_step).update_state(logs[name])

    def update(
        self, report: dict[str, tf.Tensor], first: tf.Tensor, logs: dict[str, Any], updated: dict[str, tf.Tensor]
    ) -> None:
        """Adds the results of one update.

        Args:
            report: Dict of float32 scalars that describe the rollout: sums `"return"` and `"length"` over the `"episodes"`
                that ended, and the metrics that `logs` does not have.
            first: Whether this is the first update on the rollout, in which `report` counts.
            logs: Dict of scalars that describe the update.
            updated: Dict like `logs`; whether the update that a scalar describes took place.
        """
        first, updated = tf.cast(first, tf.float32), {name: tf.cast(x, tf.float32) for name, x in updated.items()}
        episodes = report["episodes"]
        for metric in self._episodes:
            mean = tf.math.divide_no_nan(report[metric.name], episodes)
            metric.update_state(mean, sample_weight=first * episodes)
        for metric in self._updates:
            if metric.name in logs:
                metric.update_state(logs[metric.name], sample_weight=updated[metric.name])
            else:
                metric.update_state(report[metric.name], sample_weight=first)
        for name in sorted(set(logs) - {metric.name for metric in self._updates}):
            _named(name, self._from_loss).update_state(logs[name], sample_weight=updated[name])


def _named(name, metrics):
    """Returns the metric with that name, or creates it, also while a graph is traced."""
    if name not in metrics:
        with tf.init_scope():
            metrics[name] = ScalarMean(name=name)
    return metrics[name]


ROW_KL = "; 'row_kl' is for agents that learn from each rollout and then forget it, such as `krp.PPO` and `krp.A2C`"


def checked_metrics(agent: keras.Model, names: Any) -> tuple[str, ...]:
    """Returns the argument `metrics` of `compile`, each name once.

    Raises:
        ValueError: It is not a list of names of the agent's `optional_metrics`.
    """
    known = list(agent.optional_metrics)
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name in known for name in names):
        raise ValueError(
            f"`metrics` must be a list of names of {known}, beside those that `{type(agent).__name__}` always has"
            f"{ROW_KL if 'row_kl' not in known else ''}. Received: metrics={names!r}"
        )
    return tuple(dict.fromkeys(names))


def gradient_norms(
    names: Sequence[str], gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable], scale: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Euclidean norms of the gradient of a part, before the optimizer clips it.

    Args:
        names: Those of `GRADIENT_NORMS` that are wanted: the norm of the whole gradient, and that for each layer.
        gradients: List of the scaled gradients.
        variables: List of their variables.
        scale: Scalar by which the loss was scaled.

    Returns:
        Dict of float32 scalars: `"gradient_norm"`, and `"gradient_norm_<layer>"` for each layer.
    """
    groups: dict[str, list] = {}
    for gradient, variable in zip(gradients, variables, strict=True):
        layer = variable.path.rpartition("/")[0].replace("/", "_") or variable.name
        groups.setdefault(f"gradient_norm_{layer}", []).append(gradient)
    norms = {}
    if "gradient_norm" in names:
        norms["gradient_norm"] = tf.sqrt(failures.squared_norm(gradients))
    if "gradient_norm_of_layers" in names:
        norms |= {name: tf.sqrt(failures.squared_norm(group)) for name, group in groups.items()}
    return {name: norm / scale for name, norm in norms.items()}
