"""Off-policy correction: truncated importance weights, and bias corrections.

`pi` is the target policy, which is learned, `mu` the behaviour policy, which acted; the ratio of a row is `pi(a[t]) /
mu(a[t])`. Rewards, discounts, values and `continues` are those of `ops.returns`, all `[T, B]`: `continues` is 0 where the
episode ended, so no trace crosses its end, and `next_values` is the value of the observation that the row's action led to, so a
truncation bootstraps.

`valid` is False where a row does not count, such as the ignored action of a final observation: it has no influence on other
rows. Nothing here stops a gradient: results are targets and coefficients, for `tf.stop_gradient` in the caller's loss.
"""

import tensorflow as tf

from keras_rl_prob.ops.returns import aligned, reverse_linear_scan
from keras_rl_prob.ops.temporal_difference import chosen


def vtrace(
    log_ratios: tf.Tensor,
    rewards: tf.Tensor,
    discounts: tf.Tensor,
    values: tf.Tensor,
    next_values: tf.Tensor,
    continues: tf.Tensor,
    lambda_: float = 1.0,
    clip_rho: float = 1.0,
    clip_c: float = 1.0,
    clip_pg_rho: float = 1.0,
    valid: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """V-trace: targets for the value, and advantages for the policy gradient.

    With `ratio = exp(log_ratios)`, `rho = min(clip_rho, ratio)` and `c = lambda_ * min(clip_c, ratio)`,

    `targets[s] = values[s] + sum_{t >= s} (prod_{s <= i < t} discounts[i] * c[i]) delta[t]`, to the end of the episode or of
    the rollout, where `delta[t] = rho[t] * (rewards[t] + discounts[t] * next_values[t] - values[t])`, and

    `advantages[s] = min(clip_pg_rho, ratio[s]) * (rewards[s] + discounts[s] * targets[s + 1] - values[s])`, where
    `next_values[s]` stands for `targets[s + 1]` in the last row of an episode or of the rollout.

    Where `pi` is `mu` the targets are lambda-returns. `clip_rho` determines the policy whose value function the targets
    converge to (`pi` for infinity, `mu` towards 0), `clip_c` only how fast; `clip_rho >= clip_c` in the paper.

    Args:
        log_ratios: Float tensor `[T, B]`, log-probability of the action now minus when it was taken.
        rewards: Float tensor `[T, B]`; this and the following as in the docstring of `ops.returns`.
        discounts: Float tensor `[T, B]`.
        values: Float tensor `[T, B]`.
        next_values: Float tensor `[T, B]`.
        continues: Float or bool tensor `[T, B]`.
        lambda_: Float, or a tensor that broadcasts to `[T, B]`.
        clip_rho: Float, maximum weight of a TD error; infinity for no maximum, as for the other two.
        clip_c: Float, maximum factor of the trace of later TD errors.
        clip_pg_rho: Float, maximum weight of an advantage.
        valid: Bool tensor `[T, B]`; None if all rows count. Elsewhere `targets` are `values`, and `advantages` 0.

    Returns:
        `(targets, advantages)`, both `[T, B]`.

    Raises:
        ValueError: If the shapes differ.

    References:
        [Espeholt et al., 2018](https://arxiv.org/abs/1802.01561), eq. (1), lambda as in remark 2, and section 4.2 for the
        advantages, whose `q_s` has the next target whatever lambda is (rlax mixes in `next_values` by 1 - lambda).

    Example:
    >>> one, zero = tf.ones((2, 1)), tf.zeros((2, 1))
    >>> targets, advantages = vtrace(tf.math.log([[0.5], [3.0]]), one, 0.5 * one, zero, zero, one)
    >>> targets[:, 0].numpy().tolist(), advantages[:, 0].numpy().tolist()
    ([0.75, 1.0], [0.75, 1.0])
    """
    rewards, discounts, values, next_values, continues, log_ratios = aligned(
        rewards=rewards,
        discounts=discounts,
        values=values,
        next_values=next_values,
        continues=continues,
        log_ratios=log_ratios,
    )
    ratios = tf.exp(log_ratios)
    errors = tf.minimum(ratios, clip_rho) * (rewards + discounts * next_values - values)
    corrections, later = _corrections(errors, discounts, continues, lambda_ * tf.minimum(ratios, clip_c), valid)
    outcomes = rewards + discounts * (next_values + later)
    return values + corrections, _counted(tf.minimum(ratios, clip_pg_rho) * (outcomes - values), valid)


def retrace(
    rewards: tf.Tensor,
    discounts: tf.Tensor,
    action_values: tf.Tensor,
    next_values: tf.Tensor,
    continues: tf.Tensor,
    traces: tf.Tensor,
    valid: tf.Tensor | None = None,
) -> tf.Tensor:
    """Retrace: targets for the value of the actions that were taken.

    `G[t] = rewards[t] + discounts[t] * (next_values[t] + continues[t] * traces[t + 1] * (G[t + 1] - action_values[t + 1]))`,
    where the last row of the rollout has only `next_values`. The choice of `traces` gives

    * Retrace(lambda): `lambda_ * min(1, ratio)`, and with `lambda_ = 1` the target of ACER;
    * Tree-backup(lambda): `lambda_ * pi(a)`;
    * Q(lambda) with off-policy corrections: `lambda_`;
    * Watkins' Q(lambda): `lambda_` where the action was greedy, else 0.

    `next_values` are `sum_a pi(a) Q(a)`, the greatest `Q` if `pi` is greedy. Peng's Q(lambda) is `lambda_returns` of these.

    Args:
        rewards: Float tensor `[T, B]`; this and the following as in the docstring of `ops.returns`.
        discounts: Float tensor `[T, B]`.
        action_values: Float tensor `[T, B]`, `Q` of the row's action.
        next_values: Float tensor `[T, B]`.
        continues: Float or bool tensor `[T, B]`.
        traces: Float tensor `[T, B]`, the fraction of the row's error that is passed back to the row before.
        valid: Bool tensor `[T, B]`; None if all rows count. Elsewhere the targets are `action_values`.

    Returns:
        Targets `[T, B]`.

    Raises:
        ValueError: If the shapes differ.

    References:
        [Munos et al., 2016](https://arxiv.org/abs/1606.02647), the general operator with the traces of table 1;
        [Wang et al., 2016](https://arxiv.org/abs/1611.01224), eq. (5).

    Example:
    >>> one, ratios = tf.ones((2, 1)), tf.constant([[0.3], [0.5]])
    >>> retrace(one, one, 2 * one, 3 * one, one, tf.minimum(ratios, 1.0))[:, 0].numpy().tolist()
    [5.0, 4.0]
    """
    rewards, discounts, action_values, next_values, continues, traces = aligned(
        rewards=rewards,
        discounts=discounts,
        action_values=action_values,
        next_values=next_values,
        continues=continues,
        traces=traces,
    )
    errors = traces * (rewards + discounts * next_values - action_values)
    _, later = _corrections(errors, discounts, continues, traces, valid)
    targets = rewards + discounts * (next_values + later)
    return targets if valid is None else tf.where(tf.cast(valid, tf.bool), targets, action_values)


def _corrections(errors, discounts, continues, traces, valid):
    """`x[t] = errors[t] + discounts[t] * traces[t] * continues[t] * x[t + 1]`, and `continues[t] * x[t + 1]`."""
    decays = _counted(discounts * traces * continues, valid)
    corrections = reverse_linear_scan(decays, _counted(errors, valid))
    return corrections, continues * tf.concat([corrections[1:], tf.zeros_like(corrections[:1])], 0)


def _counted(x, mask):
    """`x` with zeros where the mask is False, even for NaN."""
    return x if mask is None else tf.where(tf.cast(mask, tf.bool), x, tf.zeros_like(x))


def acer_policy_gradient(
    probabilities: tf.Tensor,
    behaviour_probabilities: tf.Tensor,
    actions: tf.Tensor,
    targets: tf.Tensor,
    q_values: tf.Tensor,
    clip_rho: float = 10.0,
    mask: tf.Tensor | None = None,
) -> tf.Tensor:
    """ACER's policy gradient with respect to the policy's probabilities: a truncated importance weight, bias corrected.

    With `rho(b) = pi(b) / mu(b)` and `V = sum_b pi(b) Q(b)`, the gradient for action `b` is

    `[b = a] min(clip_rho, rho(a)) / pi(a) * (targets - V) + max(0, 1 - clip_rho / rho(b)) * (Q(b) - V)`.

    The second term is the expectation over `pi` of what the truncation removed, with `Q` for the unknown return; the `pi(b)` of
    the expectation and that of `d log pi(b) / d pi(b)` cancel. It is 0 unless a ratio exceeds `clip_rho`. The loss with this
    gradient `z` is `-sum_b stop_gradient(z(b)) pi(b)`.

    Args:
        probabilities: Float tensor `[..., A]`, `pi` of each action.
        behaviour_probabilities: Float tensor `[..., A]`, `mu` of each action when the row was collected.
        actions: int32 `[...]`, the actions that were taken.
        targets: Float tensor `[...]`, targets for their values, by `retrace`.
        q_values: Float tensor `[..., A]`, `Q` of each action.
        clip_rho: Float, maximum weight of the action that was taken, `c` in the paper.
        mask: Bool tensor `[..., A]`, True for allowed actions; None if all are. Elsewhere the gradient is 0.

    Returns:
        Gradient `[..., A]` of the objective, which is to be *maximised*; finite even where a probability is 0: it is 0 there.

    References:
        [Wang et al., 2016](https://arxiv.org/abs/1611.01224), eq. (9), written for the probabilities as in section 3.3.

    Example:
    >>> pi, mu = tf.constant([0.5, 0.5]), tf.constant([0.125, 0.875])
    >>> acer_policy_gradient(pi, mu, 0, 3.0, tf.constant([2.0, 0.0]), clip_rho=2.0).numpy().tolist()
    [8.5, 0.0]
    """
    probabilities, behaviour = _counted(tf.convert_to_tensor(probabilities), mask), behaviour_probabilities
    q_values = _counted(tf.convert_to_tensor(q_values), mask)
    values = tf.reduce_sum(probabilities * q_values, -1, keepdims=True)
    weights = tf.minimum(
        tf.math.divide_no_nan(1.0, chosen(behaviour, actions)),
        tf.math.divide_no_nan(clip_rho, chosen(probabilities, actions)),
    )
    truncated = weights * (targets - values[..., 0])
    taken = tf.one_hot(actions, probabilities.shape[-1], dtype=probabilities.dtype)
    excess = tf.math.divide_no_nan(tf.maximum(probabilities - clip_rho * behaviour, 0.0), probabilities)
    return taken * truncated[..., None] + excess * (q_values - values)


def trust_region(gradient: tf.Tensor, kl_gradient: tf.Tensor, delta: float, mask: tf.Tensor | None = None) -> tf.Tensor:
    """The closest gradient along which a divergence grows by at most `delta`, to first order.

    `z = g - max(0, (k . g - delta) / ||k||^2) k` solves: minimise `||g - z||^2 / 2` subject to `k . z <= delta`.

    Args:
        gradient: `g`, float tensor `[..., A]`, of what is to be *maximised*, with respect to the policy's statistics.
        kl_gradient: `k`, float tensor `[..., A]`, gradient of the divergence with respect to the same. That of
            `KL(average || pi)` is `-average / pi` for probabilities, as in the paper, and `pi - average` for logits.
        delta: Float, not negative.
        mask: Bool tensor `[..., A]`, True for allowed actions; None if all are. The others are left out and get 0.

    Returns:
        `z`, a tensor like `gradient`; `gradient` itself where it satisfies the constraint.

    References:
        [Wang et al., 2016](https://arxiv.org/abs/1611.01224), eq. (12). There the statistics are the probabilities, treated as
        independent, as if they need not sum to 1: all of `k` is negative, so raising a probability is never constrained.

    Example:
    >>> trust_region(tf.constant([3.0, 1.0]), tf.constant([2.0, 0.0]), delta=1.0).numpy().tolist()
    [0.5, 1.0]
    """
    gradient, kl_gradient = (_counted(tf.convert_to_tensor(x), mask) for x in (gradient, kl_gradient))
    excess = tf.reduce_sum(kl_gradient * gradient, -1, keepdims=True) - delta
    scale = tf.math.divide_no_nan(tf.maximum(excess, 0.0), tf.reduce_sum(kl_gradient**2, -1, keepdims=True))
    return gradient - scale * kl_gradient
