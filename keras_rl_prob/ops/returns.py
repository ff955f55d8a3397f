"""Returns and advantages: every estimator here is one backward linear recursion over the time axis.

All arguments are time-major, `[T, B]` unless said otherwise, and describe transitions: row `t` is the transition from
observation `t` to observation `t + 1`.

* `rewards`: reward of the transition.
* `discounts`: gamma times `TimeStep.discount` after the transition, hence 0 where the episode *terminated*.
* `values`, `next_values`: value of the observation before and after the transition. `next_values[t]` equals `values[t + 1]`
  except in the last row and where an episode was truncated.
* `continues`: 1, or 0 where the episode ended with this transition, by termination *or* truncation. A truncation thus
  bootstraps from `next_values` but does not use anything of the following episode.
"""

from typing import Any

import tensorflow as tf

from keras_rl_prob.ops.loops import compiled, loop

UNROLLED, LONG = 8, 32  # numbers of rows up to which no loop is built, and up to which it is not compiled


def reverse_linear_scan(decays: tf.Tensor, increments: tf.Tensor, initial: tf.Tensor | None = None) -> tf.Tensor:
    """Solves `x[t] = increments[t] + decays[t] * x[t + 1]` backwards over axis 0.

    Sequential, in a loop unless there are few rows: a parallel scan takes three times as long to compile and is no faster
    (`benchmarks/scans.py`).

    Args:
        decays: Float tensor `[T, ...]`, `T` static.
        increments: Float tensor of the same shape.
        initial: `x[T]`, float tensor `[...]`; zeros if None.

    Returns:
        `x`, a tensor like `increments`.

    Raises:
        ValueError: If the shapes differ, or `T` is not static.

    Example:
    >>> reverse_linear_scan([0.5, 0.5, 0.5], [1.0, 1.0, 1.0], initial=8.0).numpy().tolist()
    [2.75, 3.5, 5.0]
    """
    increments, decays = aligned(increments=increments, decays=decays)
    steps = increments.shape[0]
    if steps is None:
        raise ValueError(f"`increments` must have a static number of rows. Received: shape={increments.shape}")
    x = tf.zeros_like(increments[0]) if initial is None else tf.convert_to_tensor(initial, increments.dtype)
    if steps > UNROLLED:
        return compiled(_backward_loop, steps > LONG)(decays, increments, x)
    solution = []
    for t in reversed(range(steps)):
        x = increments[t] + decays[t] * x
        solution.append(x)
    return tf.stack(solution[::-1]) if solution else increments


def _backward_loop(decays, increments, x):
    steps = increments.shape[0]

    def body(t, x, solution):
        x = increments[t] + decays[t] * x
        return t - 1, x, solution.write(t, x)

    solution = tf.TensorArray(x.dtype, steps, element_shape=increments.shape[1:])
    return loop(lambda t, *_: t >= 0, body, (steps - 1, x, solution), steps)[2].stack()


def running_sums(x: tf.Tensor, carries: tf.Tensor, initial: tf.Tensor) -> tf.Tensor:
    """Discounted sums over past rows: `y[t] = x[t] + carries[t - 1] * y[t - 1]`, where `y[0] = x[0] + initial`.

    It can track an episode's return across rollouts: `initial` is `y[-1] * carries[-1]` of the rollout before.

    Args:
        x: Float tensor `[T, ...]`.
        carries: Float tensor of the same shape, factor of the sum after the transition: 0 where a sum ends, else a discount.
        initial: Float tensor `[...]`, the sum before the first row.

    Returns:
        `y`, a tensor like `x`.

    Raises:
        ValueError: If the shapes differ.
    """
    x, carries = aligned(x=x, carries=carries)
    decays = tf.concat([tf.ones_like(carries[:1]), carries[:-1]], 0)
    return reverse_linear_scan(decays[::-1], x[::-1], initial)[::-1]


def gae(
    rewards: tf.Tensor,
    discounts: tf.Tensor,
    values: tf.Tensor,
    next_values: tf.Tensor,
    continues: tf.Tensor,
    lambda_: float | tf.Tensor,
) -> tf.Tensor:
    """Generalized advantage estimation.

    `delta[t] = rewards[t] + discounts[t] * next_values[t] - values[t]`,
    `A[t] = delta[t] + discounts[t] * lambda_ * continues[t] * A[t + 1]`, `A[T] = 0`. `lambda_=0` is the TD error,
    `lambda_=1` the discounted return minus the value; `A + values` are the lambda-returns.

    Args:
        rewards: Float tensor `[T, B]`; this and the following as in the module's docstring.
        discounts: Float tensor `[T, B]`.
        values: Float tensor `[T, B]`.
        next_values: Float tensor `[T, B]`.
        continues: Float or bool tensor `[T, B]`.
        lambda_: Float, or a tensor that broadcasts to `[T, B]`.

    Returns:
        Advantages `[T, B]`.

    References:
        [Schulman et al., 2016](https://arxiv.org/abs/1506.02438), eq. (16), with the reward that follows observation
        `t` written `rewards[t]` and the sum cut at the end of the episode or of the rollout.
    """
    rewards, discounts, values, next_values, continues = aligned(
        rewards=rewards, discounts=discounts, values=values, next_values=next_values, continues=continues
    )
    deltas = rewards + discounts * next_values - values
    return reverse_linear_scan(discounts * lambda_ * continues, deltas)


def lambda_returns(
    rewards: tf.Tensor, discounts: tf.Tensor, next_values: tf.Tensor, continues: tf.Tensor, lambda_: float | tf.Tensor
) -> tf.Tensor:
    """TD(lambda) returns, a geometrically weighted average of all n-step returns that fit into the episode and the rollout.

    `G[t] = rewards[t] + discounts[t] * ((1 - l[t]) * next_values[t] + l[t] * G[t + 1])` with
    `l[t] = lambda_ * continues[t]` and `G[T] = next_values[T - 1]`.

    Args:
        rewards: Float tensor `[T, B]`; this and the following as in the module's docstring.
        discounts: Float tensor `[T, B]`.
        next_values: Float tensor `[T, B]`.
        continues: Float or bool tensor `[T, B]`.
        lambda_: Float, or a tensor that broadcasts to `[T, B]`.

    Returns:
        Returns `[T, B]`.

    References:
        Sutton and Barto, 2018, section 12.1.
    """
    rewards, discounts, next_values, continues = aligned(
        rewards=rewards, discounts=discounts, next_values=next_values, continues=continues
    )
    mixture = lambda_ * continues
    increments = rewards + discounts * (1.0 - mixture) * next_values
    return reverse_linear_scan(discounts * mixture, increments, initial=next_values[-1])


def discounted_returns(
    rewards: tf.Tensor, discounts: tf.Tensor, next_values: tf.Tensor, continues: tf.Tensor
) -> tf.Tensor:
    """Monte Carlo returns: discounted sums of rewards to the end of the episode, or to that of the rollout with a bootstrap.

    `G[t] = rewards[t] + discounts[t] * (G[t + 1] where continues[t] else next_values[t])`, `G[T] = next_values[T - 1]`.
    Pass zeros as `next_values` for returns that never bootstrap.

    Args:
        rewards: Float tensor `[T, B]`; this and the following as in the module's docstring.
        discounts: Float tensor `[T, B]`.
        next_values: Float tensor `[T, B]`.
        continues: Float or bool tensor `[T, B]`.

    Returns:
        Returns `[T, B]`.
    """
    return lambda_returns(rewards, discounts, next_values, continues, 1.0)


def n_step_returns(
    rewards: tf.Tensor, discounts: tf.Tensor, next_values: tf.Tensor, continues: tf.Tensor, n: int
) -> tf.Tensor:
    """n-step returns: at most `n` rewards, then a bootstrap.

    `G[t]` sums the discounted rewards of the transitions `t ... t + m - 1` and adds the discounted
    `next_values[t + m - 1]`, where `m <= n` stops at the end of the episode and of the rollout.

    Args:
        rewards: Float tensor `[T, B]`; this and the following as in the module's docstring. `T` must be static.
        discounts: Float tensor `[T, B]`.
        next_values: Float tensor `[T, B]`.
        continues: Float or bool tensor `[T, B]`.
        n: Positive integer.

    Returns:
        Returns `[T, B]`.

    Raises:
        ValueError: If `n` is less than 1 or the shapes differ.

    References:
        Sutton and Barto, 2018, eq. (7.1).
    """
    if n < 1:
        raise ValueError(f"`n` must be a positive integer. Received: n={n}")
    rewards, discounts, next_values, continues = aligned(
        rewards=rewards, discounts=discounts, next_values=next_values, continues=continues
    )
    returns = rewards + discounts * next_values
    for _ in range(min(n, rewards.shape[0]) - 1):
        later = tf.concat([returns[1:], next_values[-1:]], 0)
        returns = rewards + discounts * tf.where(continues > 0, later, next_values)
    return returns


def aligned(**tensors: Any) -> tuple[tf.Tensor, ...]:
    """The arguments as tensors of the first one's dtype, after checking that all have its shape."""
    name, reference = next(iter(tensors.items()))
    reference = tf.convert_to_tensor(reference)
    cast = {key: tf.cast(x, reference.dtype) for key, x in tensors.items()}
    for key, x in cast.items():
        if not reference.shape.is_compatible_with(x.shape):
            raise ValueError(
                f"`{key}` must have the shape of `{name}`, {reference.shape}. Received: {key}.shape={x.shape}"
            )
    return tuple(cast.values())
