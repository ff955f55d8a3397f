"""Statistics over items where `mask` is true; the other items affect neither results nor gradients."""

import tensorflow as tf


def masked_mean(x: tf.Tensor, mask: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """Mean over the items where `mask` is true; 0 if there are none.

    Args:
        x: Float tensor of any shape.
        mask: Bool (or 0/1) tensor of the same shape.
        weights: Float tensor of the same shape, at least 0, for the weighted mean `sum(w x) / sum(w)`. Items of weight 0 are
            masked. `None` for equal weights.

    Returns:
        Scalar tensor. Masked items may be anything, NaN included.
    """
    x, mask = tf.convert_to_tensor(x), tf.cast(mask, tf.bool)
    _check_shape(x, mask, "x")
    if weights is not None:
        weights = tf.where(mask, tf.cast(weights, x.dtype), tf.zeros_like(x))
        weighted = tf.where(weights > 0, weights * x, tf.zeros_like(x))
        return tf.math.divide_no_nan(tf.reduce_sum(weighted), tf.reduce_sum(weights))
    count = tf.maximum(tf.reduce_sum(tf.cast(mask, x.dtype)), 1)
    return tf.reduce_sum(tf.where(mask, x, tf.zeros_like(x))) / count


def masked_normalize(
    x: tf.Tensor, mask: tf.Tensor, epsilon: float = 1e-8, weights: tf.Tensor | None = None
) -> tf.Tensor:
    """Shifts and scales to mean 0 and (population) standard deviation 1 over the items where `mask` is true.

    Args:
        x: Float tensor of any shape.
        mask: Bool (or 0/1) tensor of the same shape.
        epsilon: Added to the standard deviation.
        weights: As in `masked_mean`, for the weighted mean and standard deviation.

    Returns:
        Tensor like `x`; masked items are 0.

    Example:
    >>> masked_normalize([1.0, 3.0, 99.0], [True, True, False]).numpy().tolist()
    [-1.0, 1.0, 0.0]
    """
    x, mask = tf.convert_to_tensor(x), tf.cast(mask, tf.bool)
    centered = tf.where(mask, x - masked_mean(x, mask, weights), tf.zeros_like(x))
    return centered / (tf.sqrt(masked_mean(centered**2, mask, weights)) + epsilon)


def explained_variance(values: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """`1 - Var[targets - values] / Var[targets]` over the items where `mask` is true.

    1 for perfect predictions, 0 for a constant one and for constant targets, negative if worse than a constant.

    Args:
        values: Float tensor of any shape, the predictions.
        targets: Float tensor of the same shape.
        mask: Bool (or 0/1) tensor of the same shape.

    Returns:
        Scalar tensor.
    """
    values, targets = tf.convert_to_tensor(values), tf.convert_to_tensor(targets)
    _check_shape(values, targets, "values", "targets")
    variance = _masked_variance(targets, mask)
    ratio = tf.math.divide_no_nan(_masked_variance(targets - values, mask), variance)
    return tf.where(variance > 0, 1.0 - ratio, tf.zeros_like(ratio))


def _masked_variance(x, mask):
    return masked_mean((x - masked_mean(x, mask)) ** 2, mask)


def _check_shape(x, other, name, other_name="mask"):
    if not x.shape.is_compatible_with(other.shape):
        raise ValueError(
            f"`{other_name}` must have the shape of `{name}`, {x.shape}. Received: {other_name}.shape={other.shape}"
        )
