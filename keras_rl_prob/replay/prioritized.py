"""Items drawn more often where more is to be learned."""

import tensorflow as tf

from keras_rl_prob.replay.sum_tree import SumTree


class Prioritized:
    """Draws item `i` with probability `P(i) = p_i^alpha / sum_j p_j^alpha`, where `p_i = |error_i| + epsilon`.

    New items have the greatest priority that there was so far, so that each is likely to be seen.

    Args:
        items: How many.
        alpha: From 0, which is uniform, to 1.
        epsilon: What keeps an item without error in the game.

    References:
        Schaul et al., "Prioritized experience replay", 2016, https://arxiv.org/abs/1511.05952, section 3.3.
    """

    def __init__(self, items: int, alpha: float, epsilon: float) -> None:
        self._alpha, self._epsilon = alpha, epsilon
        self.tree = SumTree(items)
        self._greatest = tf.Variable(1.0, trainable=False, name="greatest")  # p^alpha

    @property
    def variables(self) -> list[tf.Variable]:
        """The priorities and the greatest so far."""
        return [*self.tree.variables, self._greatest]

    def clear(self) -> None:
        """Forgets all items: as new."""
        self.tree.clear()
        self._greatest.assign(1.0)

    def add(self, items: tf.Tensor, present: tf.Tensor) -> None:
        """Gives new items the greatest priority so far.

        Args:
            items: int32 `[K]`.
            present: bool `[K]`; False for items that must not be drawn, which then have priority 0.
        """
        self.tree.assign(items, tf.where(present, self._greatest, 0.0))

    def draw(self, count: int, seed: tf.Tensor) -> tf.Tensor:
        """Draws with replacement, one item from each of `count` strata of equal probability.

        Args:
            count: How many.
            seed: int32 `[2]`.

        Returns:
            int32 `[count]`: the items.
        """
        uniform = tf.random.stateless_uniform((count,), seed, dtype=tf.float64)
        strata = (tf.range(count, dtype=tf.float64) + uniform) / count
        items = self.tree.find(strata * self.tree.total)
        return tf.random.experimental.stateless_shuffle(items, seed)  # strata must not become batches

    def weights(self, items: tf.Tensor, beta: float | tf.Tensor) -> tf.Tensor:
        """Weights that make up for the unequal probabilities.

        `w_i = (N P(i))^-beta`, divided by the greatest of them along the last axis.

        Args:
            items: int32 `[..., batch]`.
            beta: Float from 0, no correction, to 1, all of it.

        Returns:
            float32 `[..., batch]`, at most 1.
        """
        priority = self.tree.priority(items)
        return (tf.reduce_min(priority, -1, keepdims=True) / priority) ** beta

    def update(self, items: tf.Tensor, errors: tf.Tensor) -> None:
        """Sets priorities by the errors that were found; of several errors of one item the greatest counts.

        Args:
            items: int32 `[K]`.
            errors: float32 `[K]`.
        """
        priority = (tf.abs(errors) + self._epsilon) ** self._alpha
        self.tree.assign(items, priority)
        self._greatest.assign(tf.maximum(self._greatest, tf.reduce_max(priority)))
