"""Reference implementations in float64 NumPy, written from the forward definitions: explicit sums, not the same recursion."""

import numpy as np


def linear_scan(decays, increments, initial):
    """`x[t] = sum_k (prod_{t <= j < k} decays[j]) increments[k]`, and the initial value behind all decays."""
    steps = len(increments)
    x = [sum(np.prod(decays[t:k], axis=0) * increments[k] for k in range(t, steps)) for t in range(steps)]
    return np.stack([x[t] + np.prod(decays[t:], axis=0) * initial for t in range(steps)])


def running_sums(x, carries, initial):
    """`y[t] = sum_{k <= t} (prod_{k <= j < t} carries[j]) x[k]`, and the initial value behind all carries before t."""
    y = [sum(np.prod(carries[k:t], axis=0) * x[k] for k in range(t + 1)) for t in range(len(x))]
    return np.stack([y[t] + np.prod(carries[:t], axis=0) * initial for t in range(len(x))])


def n_step_return(rewards, discounts, next_values, continues, n):
    """At most n rewards, then the value of the next observation."""
    returns = np.zeros(rewards.shape)
    for start, b in np.ndindex(*rewards.shape):
        weight = 1.0
        for t in range(start, start + n):
            returns[start, b] += weight * rewards[t, b]
            weight *= discounts[t, b]
            if not continues[t, b] or t + 1 == min(start + n, len(rewards)):
                returns[start, b] += weight * next_values[t, b]
                break
    return returns


def horizon(continues, start, b):
    """Number of transitions from `start` to the end of the episode or of the rollout."""
    steps = 1
    while continues[start + steps - 1, b] and start + steps < len(continues):
        steps += 1
    return steps


def lambda_return(rewards, discounts, next_values, continues, lambda_):
    """`(1 - lambda) sum_{n < N} lambda^(n - 1) G^(n) + lambda^(N - 1) G^(N)` with `N` steps left."""
    of_n = [n_step_return(rewards, discounts, next_values, continues, n + 1) for n in range(len(rewards))]
    returns = np.zeros(rewards.shape)
    for t, b in np.ndindex(*rewards.shape):
        last = horizon(continues, t, b)
        returns[t, b] = (1 - lambda_) * sum(lambda_ ** (n - 1) * of_n[n - 1][t, b] for n in range(1, last))
        returns[t, b] += lambda_ ** (last - 1) * of_n[last - 1][t, b]
    return returns


def gae(rewards, discounts, values, next_values, continues, lambda_):
    """Equation (16) of the paper: `sum_k (prod discount * lambda) delta[t + k]` to the end of the episode."""
    deltas = rewards + discounts * next_values - values
    advantages = np.zeros(rewards.shape)
    for t, b in np.ndindex(*rewards.shape):
        for k in range(horizon(continues, t, b)):
            advantages[t, b] += np.prod(discounts[t : t + k, b]) * lambda_**k * deltas[t + k, b]
    return advantages


def vtrace(
    log_ratios,
    rewards,
    discounts,
    values,
    next_values,
    continues,
    lambda_=1.0,
    clip_rho=1.0,
    clip_c=1.0,
    clip_pg_rho=1.0,
):
    """Equation (1) of the paper and its policy gradient, `targets[t + 1]` in place of `next_values[t]` within an episode."""
    ratios = np.exp(log_ratios)
    deltas = np.minimum(clip_rho, ratios) * (rewards + discounts * next_values - values)
    weights = discounts * lambda_ * np.minimum(clip_c, ratios)
    targets, following = values.copy(), next_values.copy()
    for t, b in np.ndindex(*rewards.shape):
        targets[t, b] += sum(np.prod(weights[t : t + k, b]) * deltas[t + k, b] for k in range(horizon(continues, t, b)))
    for t, b in np.ndindex(*rewards.shape):
        if horizon(continues, t, b) > 1:
            following[t, b] = targets[t + 1, b]
    return targets, np.minimum(clip_pg_rho, ratios) * (rewards + discounts * following - values)


def retrace(rewards, discounts, action_values, next_values, continues, traces):
    """The general operator of the paper: `Q + sum_k (prod_{j < k} discounts) (prod_{1 <= j <= k} traces) delta[t + k]`."""
    deltas = rewards + discounts * next_values - action_values
    targets = action_values.copy()
    for t, b in np.ndindex(*rewards.shape):
        for k in range(horizon(continues, t, b)):
            targets[t, b] += np.prod(discounts[t : t + k, b]) * np.prod(traces[t + 1 : t + k + 1, b]) * deltas[t + k, b]
    return targets


def acer_objective(probabilities, at, behaviour, actions, targets, q_values, clip_rho):
    """What equation (9) of the paper is the gradient of, at the probabilities `at`, which fix its weights."""
    ratios, values = at / behaviour, (at * q_values).sum(-1)
    log_taken = np.take_along_axis(np.log(probabilities), actions[..., None], -1)[..., 0]
    taken = np.take_along_axis(ratios, actions[..., None], -1)[..., 0]
    weights = at * np.maximum(0, (ratios - clip_rho) / ratios) * (q_values - values[..., None])
    return np.minimum(clip_rho, taken) * log_taken * (targets - values) + (weights * np.log(probabilities)).sum(-1)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(inputs, kernel, keep, h, c):
    """The equations of the cell, row by row, gate by gate; gates are ordered i, f, g, o."""
    units, outputs = len(kernel), np.zeros((*inputs.shape[:2], len(kernel)))
    h, c = h.copy(), c.copy()
    for t, row in np.ndindex(*keep.shape):
        if not keep[t, row]:
            h[row] = c[row] = 0
        i, f, g, o = [
            inputs[t, row, k * units :][:units] + h[row] @ kernel[:, k * units :][:, :units] for k in range(4)
        ]
        c[row] = sigmoid(f) * c[row] + sigmoid(i) * np.tanh(g)
        h[row] = outputs[t, row] = sigmoid(o) * np.tanh(c[row])
    return outputs, h, c


def gru(inputs, kernel, bias, keep, h):
    """As `lstm`; gates are ordered z, r, n, and the reset gate acts on the projected state."""
    units, outputs = len(kernel), np.zeros((*inputs.shape[:2], len(kernel)))
    h = h.copy()
    for t, row in np.ndindex(*keep.shape):
        if not keep[t, row]:
            h[row] = 0
        x = [inputs[t, row, k * units :][:units] for k in range(3)]
        y = [h[row] @ kernel[:, k * units :][:, :units] + bias[k * units :][:units] for k in range(3)]
        z, r = sigmoid(x[0] + y[0]), sigmoid(x[1] + y[1])
        h[row] = outputs[t, row] = z * h[row] + (1 - z) * np.tanh(x[2] + r * y[2])
    return outputs, h
