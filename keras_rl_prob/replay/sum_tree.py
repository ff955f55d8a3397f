"""Sampling of items in proportion to their priorities."""

import tensorflow as tf


class SumTree:
    """Binary tree of partial sums, to sample the items 0, 1, ... in proportion to their non-negative priorities.

    Node 1 is the sum of all priorities, node `k` that of the nodes `2k` and `2k + 1`, and the items are the last nodes.
    Changing a priority and sampling an item take `O(log items)`.

    Args:
        items: Number of items.

    References:
        Schaul et al., "Prioritized experience replay", 2016, https://arxiv.org/abs/1511.05952, appendix B.2.1.
    """

    def __init__(self, items: int) -> None:
        self.items = items
        self._depth = max(items - 1, 1).bit_length()
        self._leaves = 2**self._depth
        self._nodes = tf.Variable(tf.zeros((2 * self._leaves,), tf.float64), trainable=False, name="nodes")

    @property
    def variables(self) -> list[tf.Variable]:
        """The nodes."""
        return [self._nodes]

    def clear(self) -> None:
        """Sets all priorities to 0."""
        self._nodes.assign(tf.zeros_like(self._nodes))

    @property
    def total(self) -> tf.Tensor:
        """Sum of the priorities, float64 scalar."""
        return self._nodes.gather_nd([1])

    def priority(self, items: tf.Tensor) -> tf.Tensor:
        """Returns the priorities, float32 `[...]`, of items, int32 `[...]`."""
        return tf.cast(self._nodes.gather_nd(items[..., None] + self._leaves), tf.float32)

    def assign(self, items: tf.Tensor, priorities: tf.Tensor) -> None:
        """Sets priorities; if an item occurs several times, its greatest priority counts.

        Args:
            items: int32 `[K]`.
            priorities: float `[K]`, not negative.
        """
        node = items + self._leaves
        priorities = tf.cast(priorities, tf.float64)
        self._nodes.scatter_update(tf.IndexedSlices(tf.zeros_like(priorities), node))
        self._nodes.scatter_max(tf.IndexedSlices(priorities, node))
        for _ in range(self._depth):
            node //= 2
            children = self._nodes.gather_nd(tf.stack([2 * node, 2 * node + 1], -1)[..., None])  # [K, 2]
            self._nodes.scatter_update(tf.IndexedSlices(tf.reduce_sum(children, -1), node))

    def find(self, mass: tf.Tensor) -> tf.Tensor:
        """Finds the items at which the cumulative sum of the priorities first exceeds `mass`.

        Args:
            mass: float64 `[K]`, at least 0 and below `total`.

        Returns:
            int32 `[K]`: the items.
        """
        node = tf.ones_like(mass, tf.int32)
        for _ in range(self._depth):
            left = self._nodes.gather_nd(2 * node[:, None])
            right = self._nodes.gather_nd(2 * node[:, None] + 1)
            go_right = (mass >= left) & (right > 0.0)  # rounding must not lead to an item without priority
            mass = tf.where(go_right, mass - left, mass)
            node = 2 * node + tf.cast(go_right, tf.int32)
        return node - self._leaves

    def check_valid(self) -> None:
        """Raises a `ValueError` unless every node is the sum of the two below it, and finite and not negative."""
        nodes = self._nodes.numpy()
        numbers = ((nodes >= 0.0) & (nodes < float("inf"))).all()
        if not numbers or abs(nodes[1 : self._leaves] - nodes[2::2] - nodes[3::2]).max() > 1e-9 * max(nodes[1], 1.0):
            raise ValueError(f"The tree's nodes must be the sums of those below them. Received: nodes={nodes}")
