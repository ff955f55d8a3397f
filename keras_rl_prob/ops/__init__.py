"""Tensors in, tensors out: the mathematics of reinforcement learning, time-major."""

from keras_rl_prob.ops.losses import adapt_kl_beta, clipped_surrogate, clipped_value_loss, kl_cutoff
from keras_rl_prob.ops.masking import explained_variance, masked_mean, masked_normalize
from keras_rl_prob.ops.recurrent import gru, lstm, unroll
from keras_rl_prob.ops.returns import (
    discounted_returns,
    gae,
    lambda_returns,
    n_step_returns,
    reverse_linear_scan,
    running_sums,
)

__all__ = [
    "adapt_kl_beta",
    "clipped_surrogate",
    "clipped_value_loss",
    "discounted_returns",
    "explained_variance",
    "gae",
    "gru",
    "kl_cutoff",
    "lambda_returns",
    "lstm",
    "masked_mean",
    "masked_normalize",
    "n_step_returns",
    "reverse_linear_scan",
    "running_sums",
    "unroll",
]
