"""Independent distributions over a nest of action components, used as one."""

from typing import Self

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from keras_rl_prob.types import Nest

tfd = tfp.distributions


class Joint:
    """The product of independent distributions, the leaves of a nest: one per component of an action.

    For Tuple, Dict, MultiDiscrete, MultiBinary and hybrid action spaces, and for a single distribution.
    Log-probability, entropy and KL divergence are sums over the leaves.

    Samples are *raw*: the value before the squashing for a `BoundedNormal` (or any leaf with `sample_raw`, `mode_raw`,
    `log_prob_raw` and `squash`), the action itself for all others. `log_prob` takes raw values, and the environment gets
    `action(raw)`, so a rollout stores raw values and the tanh is never inverted.

    Args:
        distributions: nest (tuple, list, dict or a single leaf) of `tfd.Distribution` whose batch shapes are all equal.

    Example:
        >>> joint = Joint({"move": tfd.Normal([0.0, 0.0], 1.0), "tool": tfd.Categorical(tf.zeros([2, 5]))})
        >>> raw = joint.sample(seed=tf.constant([1, 2]))
        >>> raw["tool"].shape, joint.log_prob(raw).shape
        (TensorShape([2]), TensorShape([2]))
    """

    def __init__(self, distributions: Nest) -> None:
        leaves = keras.tree.flatten_with_path(distributions)
        if not leaves:
            raise ValueError(f"`distributions` must have at least one leaf. Received: distributions={distributions}")
        for path, leaf in leaves:
            if not isinstance(leaf, tfd.Distribution):
                raise TypeError(
                    f"Every leaf of `distributions` must be a `tfd.Distribution`. Received: {leaf} at {path}"
                )
        first_path, first = leaves[0]
        for path, leaf in leaves[1:]:
            if not leaf.batch_shape.is_compatible_with(first.batch_shape):
                raise ValueError(
                    "`distributions` must have equal batch shapes. Received: "
                    f"{first.batch_shape} at {first_path} and {leaf.batch_shape} at {path}"
                )
        self.distributions = distributions
        self.batch_shape = first.batch_shape

    def sample(self, seed: tf.Tensor) -> Nest:
        """Draws one raw value per batch entry.

        Args:
            seed: int32 `[2]`, a stateless seed. Every leaf gets its own, derived from it.

        Returns:
            Nest of tensors `[*batch, *event]`.
        """
        leaves = keras.tree.flatten(self.distributions)
        seeds = [seed] if len(leaves) == 1 else tf.unstack(tf.random.split(seed, len(leaves)))
        samples = [_raw(leaf, "sample")(seed=leaf_seed) for leaf, leaf_seed in zip(leaves, seeds, strict=True)]
        return keras.tree.pack_sequence_as(self.distributions, samples)

    def mode(self) -> Nest:
        """Returns the raw mode of each leaf, as a nest of tensors `[*batch, *event]`."""
        return keras.tree.map_structure(lambda leaf: _raw(leaf, "mode")(), self.distributions)

    def action(self, raw: Nest) -> Nest:
        """Maps raw values to actions, as a nest of tensors `[*batch, *event]`."""
        return keras.tree.map_structure(
            lambda leaf, x: leaf.squash(x) if _is_squashed(leaf) else x, self.distributions, raw
        )

    def log_prob(self, raw: Nest) -> tf.Tensor:
        """Log-probability of `action(raw)`, `[*batch]`."""
        return tf.add_n(self._each(lambda leaf, x: _raw(leaf, "log_prob")(x), raw))

    def entropy(self) -> tf.Tensor:
        """Entropy, `[*batch]`."""
        return tf.add_n(self.entropies())

    def entropies(self) -> list[tf.Tensor]:
        """Entropy of each leaf, a list of `[*batch]` in the order of the flattened nest."""
        return self._each(lambda leaf: leaf.entropy())

    def kl_divergence(self, other: Self) -> tf.Tensor:
        """KL(self || other), `[*batch]`, to another `Joint` of the same structure."""
        return tf.add_n(self.kl_divergences(other))

    def kl_divergences(self, other: Self) -> list[tf.Tensor]:
        """KL(self || other) of each leaf, a list of `[*batch]` in the order of the flattened nest."""
        return self._each(tfd.kl_divergence, other.distributions)

    def _each(self, function, *nests):
        return keras.tree.flatten(keras.tree.map_structure(function, self.distributions, *nests))


def _is_squashed(leaf):
    return hasattr(leaf, "sample_raw")


def _raw(leaf, name):
    return getattr(leaf, f"{name}_raw" if _is_squashed(leaf) else name)
