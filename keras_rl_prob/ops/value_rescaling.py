"""Value rescaling, which compresses large values."""

import tensorflow as tf


def rescale(x: tf.Tensor, epsilon: float = 1e-3) -> tf.Tensor:
    """`h(x) = sign(x) (sqrt(|x| + 1) - 1) + epsilon x`.

    Args:
        x: Float tensor.
        epsilon: Positive float, which makes `h` invertible.

    Returns:
        Tensor like `x`.

    References:
        Pohlen et al., "Observe and look further", 2018, https://arxiv.org/abs/1805.11593, section 3.2.

    Example:
    >>> rescale([3.0, -8.0], epsilon=0.0).numpy().tolist()
    [1.0, -2.0]
    """
    x = tf.convert_to_tensor(x)
    # sqrt(|x| + 1) - 1 as |x| / (sqrt(|x| + 1) + 1): no cancellation near 0, and the right gradient at 0, where sign(x) is 0
    return x / (tf.sqrt(tf.abs(x) + 1.0) + 1.0) + epsilon * x


def inverse_rescale(y: tf.Tensor, epsilon: float = 1e-3) -> tf.Tensor:
    """The inverse of `rescale`.

    `sign(y) (((sqrt(1 + 4 epsilon (|y| + 1 + epsilon)) - 1) / (2 epsilon))^2 - 1)`

    Args:
        y: Float tensor.
        epsilon: That of `rescale`, positive.

    Returns:
        Tensor like `y`.

    References:
        Pohlen et al., 2018, https://arxiv.org/abs/1805.11593, proposition A.2.

    Example:
    >>> inverse_rescale(rescale([100.0])).numpy().round(2).tolist()
    [100.0]
    """
    y = tf.convert_to_tensor(y)
    # With q = sqrt(1 + 4 epsilon (|y| + 1 + epsilon)), the root is r = 2 (|y| + 1 + epsilon) / (q + 1), and r - 1 is
    # |y| (2 - 4 epsilon / (q + 1 + 2 epsilon)) / (q + 1): no cancellation near 0, and the right gradient at 0.
    shifted = tf.abs(y) + 1.0 + epsilon
    q = tf.sqrt(1.0 + 4.0 * epsilon * shifted)
    root = 2.0 * shifted / (q + 1.0)
    return y * (2.0 - 4.0 * epsilon / (q + 1.0 + 2.0 * epsilon)) / (q + 1.0) * (root + 1.0)
