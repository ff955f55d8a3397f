"""Terms of value-based losses, per item."""

import tensorflow as tf


def chosen(values: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
    """Values of the actions that were taken.

    Args:
        values: Float tensor `[..., actions]`.
        actions: int32 `[...]`.

    Returns:
        Float tensor `[...]`.
    """
    return tf.gather(values, actions, axis=-1, batch_dims=len(values.shape) - 1)


def bootstrap_values(target_values: tf.Tensor, online_values: tf.Tensor | None = None) -> tf.Tensor:
    """Value of an observation: `max_a Q_target`, or with double Q-learning `Q_target(argmax_a Q_online)`.

    Args:
        target_values: Float tensor `[..., actions]`.
        online_values: Float tensor like it for double Q-learning, or None.

    Returns:
        Float tensor `[...]`.

    References:
        Mnih et al., 2015, https://doi.org/10.1038/nature14236; van Hasselt et al., 2016,
        https://arxiv.org/abs/1509.06461, eq. (4).

    Example:
    >>> float(bootstrap_values([5.0, 3.0])), float(bootstrap_values([5.0, 3.0], [0.0, 1.0]))
    (5.0, 3.0)
    """
    if online_values is None:
        return tf.reduce_max(target_values, -1)
    return chosen(tf.convert_to_tensor(target_values), tf.argmax(online_values, -1, tf.int32))


def clipped(rewards: tf.Tensor, bound: float | None) -> tf.Tensor:
    """Rewards clipped to [-`bound`, `bound`], or unchanged for None.

    Args:
        rewards: Float tensor.
        bound: Positive float, or None.

    Returns:
        Tensor like `rewards`.

    Example:
    >>> clipped([-3.0, 0.5], 1.0).numpy().tolist()
    [-1.0, 0.5]
    """
    return rewards if bound is None else tf.clip_by_value(rewards, -bound, bound)


def huber(errors: tf.Tensor, delta: float | tf.Tensor | None) -> tf.Tensor:
    """Half the squared error up to `delta`, linear beyond: `delta (|e| - delta / 2)`.

    Args:
        errors: Float tensor.
        delta: Positive float; None for half the squared error.

    Returns:
        Tensor like `errors`.
    """
    if delta is None:
        return 0.5 * errors**2
    small = tf.minimum(tf.abs(errors), delta)
    return small * (tf.abs(errors) - 0.5 * small)


def quantile_loss(values: tf.Tensor, targets: tf.Tensor, delta: float | tf.Tensor | None) -> tf.Tensor:
    """The quantile Huber loss: `sum_i mean_j |tau_i - 1(e_ij < 0)| L(e_ij)`, `e_ij = targets[j] - values[i]`.

    `tau_i = (i + 1/2) / N` is the quantile that the `i`-th of `N` values stands for. `L` is the Huber loss divided by `delta`,
    or the absolute error for `delta` None.

    Args:
        values: Float tensor `[..., N]`.
        targets: Float tensor `[..., M]`, samples or quantiles of the distribution to learn.
        delta: Positive float or None.

    Returns:
        Float tensor `[...]`.

    References:
        Dabney et al., "Distributional reinforcement learning with quantile regression", 2018,
        https://arxiv.org/abs/1710.10044, equation (10).

    Example:
    >>> float(quantile_loss([0.0, 0.0], [1.0], None))  # tau is 1/4 and 3/4
    1.0
    """
    values, targets = tf.convert_to_tensor(values), tf.convert_to_tensor(targets)
    count = values.shape[-1]
    tau = (tf.range(count, dtype=values.dtype) + 0.5) / count
    errors = targets[..., None, :] - values[..., :, None]  # [..., N, M]
    size = tf.abs(errors) if delta is None else huber(errors, delta) / delta
    below = tf.cast(errors < 0.0, values.dtype)
    return tf.reduce_sum(tf.reduce_mean(tf.abs(tau[:, None] - below) * size, -1), -1)


def categorical_projection(probabilities: tf.Tensor, values: tf.Tensor, support: tf.Tensor) -> tf.Tensor:
    """A distribution over any values as one over the values of a support, with the same mean within its bounds.

    `m_i = sum_j p_j max(0, 1 - |clip(x_j, z_1, z_N) - z_i| / dz)`: the probability of a value goes to the two atoms `z_i`
    beside it, the more to the nearer one, and to the last atom from beyond.

    Args:
        probabilities: Float tensor `[..., M]`, `p`.
        values: Float tensor `[..., M]`, `x`, what has these probabilities.
        support: Float tensor `[N]`, `z`, rising in equal steps `dz`; `N` is at least 2.

    Returns:
        Float tensor `[..., N]` of probabilities.

    References:
        Bellemare et al., "A distributional perspective on reinforcement learning", 2017, https://arxiv.org/abs/1707.06887,
        equation (7).

    Example:
    >>> categorical_projection([0.5, 0.5], [0.25, 9.0], [0.0, 1.0, 2.0]).numpy().tolist()
    [0.375, 0.125, 0.5]
    """
    support = tf.convert_to_tensor(support)
    clipped_values = tf.clip_by_value(tf.convert_to_tensor(values), support[0], support[-1])
    distance = tf.abs(clipped_values[..., None, :] - support[:, None]) / (support[1] - support[0])  # [..., N, M]
    shares = tf.maximum(1.0 - distance, 0.0)
    return tf.reduce_sum(shares * tf.convert_to_tensor(probabilities)[..., None, :], -1)
