"""A head for discrete actions."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from keras_rl_prob.layers.head import MASKED_LOGIT, Head
from keras_rl_prob.types import Nest

tfd = tfp.distributions


@keras.saving.register_keras_serializable("keras_rl_prob")
class DenseCategorical(Head):
    """Independent categorical distributions, for Discrete and MultiDiscrete action spaces; actions are int32.

    Parameters are logits `[..., *output_shape]`, whose last axis is the classes. A masked class has logit -1e9:
    it has probability 0, is never sampled and gets no gradient. If a mask allows no class at all, all of them are
    equally likely.

    Args:
        output_shape: int or tuple of ints: `(n,)` for one choice among n, `(k, n)` for k such choices, and so on.
        num_classes: optional ints `output_shape[:-1]`, at most n, if the components of a MultiDiscrete action have different
            numbers of classes. The surplus classes are never sampled, whatever the mask.
        **kwargs: arguments of `Head` (`use_bias`, `kernel_initializer`, `bias_initializer`, `kernel_regularizer`,
            `bias_regularizer`) and of `keras.layers.Layer`.

    Attributes:
        num_classes: int array `output_shape[:-1]`, the number of classes of each component.

    Example:
        >>> head = DenseCategorical((2, 5), num_classes=(5, 3))
        >>> head.distribution(head(tf.ones([32, 8]))).sample(seed=tf.constant([1, 2])).shape
        TensorShape([32, 2])
    """

    action_kind = "discrete"

    def __init__(
        self, output_shape: int | tuple[int, ...], num_classes: Sequence[Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(output_shape, **kwargs)
        if not self.mask_shape:
            raise ValueError(f"`output_shape` must have an axis of classes. Received: output_shape={output_shape}")
        most = self.mask_shape[-1]
        counts = np.asarray(most if num_classes is None else num_classes)
        if num_classes is None:
            counts = np.broadcast_to(counts, self.action_shape)
        if counts.shape != self.action_shape or counts.dtype.kind not in "iu" or np.any((counts < 1) | (counts > most)):
            raise ValueError(
                f"`num_classes` must be ints from 1 to {most} of shape {self.action_shape}. "
                f"Received: num_classes={num_classes}"
            )
        self.num_classes = counts

    @property
    def action_shape(self) -> tuple[int, ...]:
        """Shape of one action."""
        return self.mask_shape[:-1]

    def call(self, inputs: Nest) -> tf.Tensor:
        """Returns logits, float32 `[..., *output_shape]`."""
        logits, mask = self.project(inputs)
        if mask is not None:
            logits = tf.where(mask, logits, MASKED_LOGIT)
        exists = np.arange(self.mask_shape[-1]) < self.num_classes[..., np.newaxis]
        return logits if exists.all() else tf.where(exists, logits, 2.0 * MASKED_LOGIT)  # below every masked class

    def distribution(self, params: tf.Tensor) -> tfp.distributions.Distribution:
        """Returns a distribution of int32 actions `[..., *output_shape[:-1]]`."""
        return tfd.Independent(tfd.Categorical(logits=params, dtype=tf.int32), len(self.action_shape))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "num_classes": self.num_classes.tolist()}
