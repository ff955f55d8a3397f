"""The equations of reinforcement learning as functions of time-major tensors."""

from keras_rl_prob.ops.losses import adapt_kl_beta, clipped_surrogate, clipped_value_loss, kl_cutoff
from keras_rl_prob.ops.masking import explained_variance, masked_mean, masked_normalize
from keras_rl_prob.ops.n_step import n_step_sums
from keras_rl_prob.ops.off_policy import acer_policy_gradient, retrace, trust_region, vtrace
from keras_rl_prob.ops.recurrent import gru, lstm, unroll
from keras_rl_prob.ops.returns import (
    discounted_returns,
    gae,
    lambda_returns,
    n_step_returns,
    reverse_linear_scan,
    running_sums,
)
from keras_rl_prob.ops.temporal_difference import bootstrap_values, categorical_projection, chosen, huber, quantile_loss
from keras_rl_prob.ops.value_rescaling import inverse_rescale, rescale

__all__ = [
    "acer_policy_gradient",
    "adapt_kl_beta",
    "bootstrap_values",
    "categorical_projection",
    "chosen",
    "clipped_surrogate",
    "clipped_value_loss",
    "discounted_returns",
    "explained_variance",
    "gae",
    "gru",
    "huber",
    "inverse_rescale",
    "kl_cutoff",
    "lambda_returns",
    "lstm",
    "masked_mean",
    "masked_normalize",
    "n_step_returns",
    "n_step_sums",
    "quantile_loss",
    "rescale",
    "retrace",
    "reverse_linear_scan",
    "running_sums",
    "trust_region",
    "unroll",
    "vtrace",
]
