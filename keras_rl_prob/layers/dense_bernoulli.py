"""A head for binary actions."""

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from keras_rl_prob.layers.head import MASKED_LOGIT, Head
from keras_rl_prob.types import Nest

tfd = tfp.distributions


@keras.saving.register_keras_serializable("keras_rl_prob")
class DenseBernoulli(Head):
    """Independent Bernoulli distributions, for MultiBinary action spaces; actions are int32 `[..., *output_shape]`.

    Parameters are logits `[..., *output_shape]`. A masked entry has logit -1e9: it is always 0, adds 0 to
    log-probability, entropy and KL divergence, and gets no gradient.

    Args:
        output_shape: int or tuple of ints, the shape of one action.
        **kwargs: arguments of `Head` (`use_bias`, `kernel_initializer`, `bias_initializer`, `kernel_regularizer`,
            `bias_regularizer`) and of `keras.layers.Layer`.

    Example:
        >>> head = DenseBernoulli((4,))
        >>> head.distribution(head(tf.ones([32, 8]))).sample(seed=tf.constant([1, 2])).shape
        TensorShape([32, 4])
    """

    action_kind = "binary"

    def call(self, inputs: Nest) -> tf.Tensor:
        """Returns logits, float32 `[..., *output_shape]`."""
        logits, mask = self.project(inputs)
        return logits if mask is None else tf.where(mask, logits, MASKED_LOGIT)

    def distribution(self, params: tf.Tensor) -> tfp.distributions.Distribution:
        """Returns a distribution of int32 actions `[..., *output_shape]`."""
        return tfd.Independent(tfd.Bernoulli(logits=params, dtype=tf.int32), len(self.action_shape))
