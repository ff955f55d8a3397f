"""Prioritized sampling of items, and its importance sampling weights."""

import tensorflow as tf

from keras_rl_prob.replay.sum_tree import SumTree


class Prioritized:
    """Samples item `i` with probability `P(i) = p_i^alpha / sum_j p_j^alpha`, where `p_i = |error_i| + epsilon`.

    New items get the greatest priority so far, so that each of them is likely to be sampled.

    Args:
        items: Number of items.
        alpha: Exponent of the priorities, from 0 (uniform) to 1.
        epsilon: Positive number added to errors, so that items without error are sampled too.

    References:
        Schaul et al., "Prioritized experience replay", 2016, https://arxiv.org/abs/1511.05952, section 3.3.
    """

    def __init__(self, items: int, alpha: float, epsilon: float) -> None:
        self._alpha, self._epsilon = alpha, epsilon
        self.tree = SumTree(items)
        self._greatest = tf.Variable(1.0, trainable=False, name="greatest")  # p^alpha

    @property
    def variables(self) -> list[tf.Variable]:
        """The priorities and the greatest priority so far."""
        return [*self.tree.variables, self._greatest]

    def clear(self) -> None:
        """Removes all items and resets the greatest priority."""
        self.tree.clear()
        self._greatest.assign(1.0)

    def add(self, items: tf.Tensor, present: tf.Tensor) -> None:
        """Gives new items the greatest priority so far.

        Args:
            items: int32 `[K]`.
            present: bool `[K]`; False for items that must not be sampled, which then have priority 0.
        """
        self.tree.assign(items, tf.where(present, self._greatest, 0.0))

    def draw(self, count: int, seed: tf.Tensor) -> tf.Tensor:
        """Samples with replacement, one item from each of `count` strata of equal probability.

        Args:
            count: Number of samples.
            seed: int32 `[2]`.

        Returns:
            int32 `[count]`: the items.
        """
        uniform = tf.random.stateless_uniform((count,), seed, dtype=tf.float64)
        strata = (tf.range(count, dtype=tf.float64) + uniform) / count
        items = self.tree.find(strata * self.tree.total)
        return tf.random.experimental.stateless_shuffle(items, seed)  # batches must not consist of neighbouring strata

    def weights(self, items: tf.Tensor, beta: float | tf.Tensor) -> tf.Tensor:
        """Returns importance sampling weights, which correct for the unequal probabilities.

        `w_i = (N P(i))^-beta`, divided by the greatest of them along the last axis.

        Args:
            items: int32 `[..., batch]`.
            beta: Float from 0 (no correction) to 1 (full correction).

        Returns:
            float32 `[..., batch]`, at most 1.
        """
        priority = self.tree.priority(items)
        return (tf.reduce_min(priority, -1, keepdims=True) / priority) ** beta

    def update(self, items: tf.Tensor, errors: tf.Tensor) -> None:
        """Sets priorities from errors; if an item occurs several times, its greatest error counts.

        Args:
            items: int32 `[K]`.
            errors: float32 `[K]`.
        """
        priority = (tf.abs(errors) + self._epsilon) ** self._alpha
        self.tree.assign(items, priority)
        self._greatest.assign(tf.maximum(self._greatest, tf.reduce_max(priority)))
