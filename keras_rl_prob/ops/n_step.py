"""N-step sums of rewards, for the targets of value-based agents."""

import tensorflow as tf


def n_step_sums(
    rewards: tf.Tensor, discounts: tf.Tensor, continues: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Discounted sum of the rewards of up to `n` steps, and the discount of the value after them.

    `R = sum_{k < m} (prod_{j < k} discounts[j]) rewards[k]` and `D = prod_{j < m} discounts[j]`, where `m <= n` is the
    number of steps to the end of the episode, the last included. An n-step target is `R + D * value(observation m steps
    later)`.

    Args:
        rewards: Float tensor `[n, ...]`, `n` static.
        discounts: Float tensor like it: gamma, or 0 where the step terminated the episode.
        continues: Bool tensor like it: False where the step ended the episode, by termination or truncation.

    Returns:
        `(R, D, m)`: float, float and int32 tensors `[...]`.

    References:
        Sutton and Barto, 2018, eq. (7.1).

    Example:
    >>> total, discount, steps = n_step_sums([1.0, 2.0, 4.0], [0.5, 0.5, 0.5], [True, False, True])
    >>> float(total), float(discount), int(steps)
    (2.0, 0.25, 2)
    """
    rewards, discounts = tf.convert_to_tensor(rewards), tf.convert_to_tensor(discounts)
    continues = tf.cast(continues, tf.bool)
    total, discount, going = rewards[0], discounts[0], continues[0]
    steps = tf.ones_like(total, tf.int32)
    for k in range(1, rewards.shape[0]):
        total = tf.where(going, total + discount * rewards[k], total)
        discount = tf.where(going, discount * discounts[k], discount)
        steps += tf.cast(going, tf.int32)
        going &= continues[k]
    return total, discount, steps
