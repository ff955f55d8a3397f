"""Terms of policy-gradient losses, per item: the caller applies means, masks, coefficients and stopped gradients."""

import tensorflow as tf

from keras_rl_prob.ops.temporal_difference import huber


def clipped_surrogate(log_ratio: tf.Tensor, advantages: tf.Tensor, clip_ratio: float | tf.Tensor | None) -> tf.Tensor:
    """The objective of proximal policy optimization, to be *maximised*.

    `min(r * A, clip(r, 1 - clip_ratio, 1 + clip_ratio) * A)` with `r = exp(log_ratio)`.

    Args:
        log_ratio: Float tensor `[T, B]`, log-probability of the action now minus that when it was taken.
        advantages: Float tensor `[T, B]`.
        clip_ratio: Float; None for the unclipped `r * A`.

    Returns:
        Objective `[T, B]`. Its gradient is 0 where the clipped branch is the smaller one.

    References:
        [Schulman et al., 2017](https://arxiv.org/abs/1707.06347), eq. (7); unclipped eq. (6).

    Example:
    >>> clipped_surrogate(tf.math.log([1.5, 1.5]), [1.0, -1.0], clip_ratio=0.2).numpy().round(4).tolist()
    [1.2000000476837158, -1.5]
    """
    ratio = tf.exp(log_ratio)
    surrogate = ratio * advantages
    if clip_ratio is None:
        return surrogate
    return tf.minimum(surrogate, tf.clip_by_value(ratio, 1.0 - clip_ratio, 1.0 + clip_ratio) * advantages)


def clipped_value_loss(
    values: tf.Tensor,
    old_values: tf.Tensor,
    targets: tf.Tensor,
    value_clip: float | tf.Tensor | None,
    huber_delta: float | tf.Tensor | None = None,
) -> tf.Tensor:
    """Squared error of the value, pessimistic about moves of more than `value_clip` away from the old prediction.

    `max((v - target)^2, (v_old + clip(v - v_old, -value_clip, value_clip) - target)^2)`, without a factor 1/2. With
    `huber_delta` the squares are twice the `huber` loss: the same for small errors, linear for large ones.

    Args:
        values: Float tensor `[T, B]`, predictions now.
        old_values: Float tensor `[T, B]`, predictions during the rollout.
        targets: Float tensor `[T, B]`.
        value_clip: Float; None for the plain error.
        huber_delta: Float, the error from which on the loss is linear; None for never.

    Returns:
        Loss `[T, B]`.
    """
    loss = _error(values - targets, huber_delta)
    if value_clip is None:
        return loss
    clipped = old_values + tf.clip_by_value(values - old_values, -value_clip, value_clip)
    return tf.maximum(loss, _error(clipped - targets, huber_delta))


def _error(errors, huber_delta):
    return errors**2 if huber_delta is None else 2.0 * huber(errors, huber_delta)


def kl_cutoff(kl: tf.Tensor, target: float, factor: float, coef: float) -> tf.Tensor:
    """`coef * max(kl - factor * target, 0)^2`: 0 up to a multiple of the target divergence, then quadratic.

    Args:
        kl: Float tensor of any shape, usually the mean divergence between the behaviour policy and the current one.
        target: Float, the target divergence per update.
        factor: Float, the multiple of `target` up to which the result is 0.
        coef: Float.

    Returns:
        Tensor like `kl`.
    """
    return coef * tf.maximum(kl - factor * target, 0.0) ** 2


def adapt_kl_beta(beta: tf.Tensor, kl: tf.Tensor, target: float, tolerance: float) -> tf.Tensor:
    """Next coefficient of an adaptive KL penalty: 1.5 times more or less when `kl` leaves `target * (1 +- tolerance)`.

    Args:
        beta: Float tensor, the coefficient so far.
        kl: Float tensor, the mean divergence that the last update caused.
        target: Float.
        tolerance: Float, relative half-width of the band in which `beta` stays.

    Returns:
        Tensor like `beta`, within `[1e-15, 1e17]`, or 0 where `beta` is 0: a penalty that is turned off stays off.

    References:
        [Schulman et al., 2017](https://arxiv.org/abs/1707.06347), section 4, which doubles and halves outside of
        `[target / 1.5, target * 1.5]`.
    """
    beta = tf.convert_to_tensor(beta)
    beta = tf.where(
        kl < target * (1.0 - tolerance), beta / 1.5, tf.where(kl > target * (1.0 + tolerance), beta * 1.5, beta)
    )
    return tf.where(beta > 0.0, tf.clip_by_value(beta, 1e-15, 1e17), 0.0)
