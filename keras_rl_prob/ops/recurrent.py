"""Recurrent cells over a time-major sequence, with the state reset to zero where an episode starts.

`lstm` and `gru` take inputs that are already projected (one matrix product for a whole sequence) and have gradients
written by hand: everything that does not depend on the backward recursion is computed for all steps at once, so that the
backward loop has one small matrix product and a few multiplications, and the gradient of the recurrent kernel is a single
product at the end. A large state, for which that would be bound by the memory, has all of it in the loop, where the numbers of
a step are in the caches. `unroll` runs any cell and leaves its gradient to TensorFlow.

`keep` `[T, R]` is 0 at the rows where an episode starts, else 1. The state is reset *before* such a row is processed. No loop
is built for `T = 1`. `T` must be static (else `ValueError`), and all shapes must be for compilation with XLA.
"""

from collections.abc import Callable

import tensorflow as tf

from keras_rl_prob.ops.loops import compiled, loop
from keras_rl_prob.types import Nest

SHORT = 8  # steps up to which a loop is not worth compiling
LARGE_LSTM, LARGE_GRU = 16384, 4096  # numbers of a state `[R, H]` from which the gradient is computed step by step


def lstm(
    inputs: tf.Tensor, recurrent_kernel: tf.Tensor, keep: tf.Tensor, state: tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
    """Long short-term memory, Keras' gate order (input, forget, candidate, output) and default activations.

    `i, f, o = sigmoid(.)`, `g = tanh(.)` of `inputs[t] + h @ recurrent_kernel`; `c = f * c + i * g`; `h = o * tanh(c)`.

    Args:
        inputs: Float tensor `[T, R, 4H]`, input projections including the bias.
        recurrent_kernel: Float tensor `[H, 4H]`.
        keep: Tensor `[T, R]`, 0 where an episode starts.
        state: Tuple `(h, c)` of float tensors `[R, H]`.

    Returns:
        `(outputs, (h, c))`: outputs `[T, R, H]` and the state after the last step. Gradients flow through both, to
        `inputs`, `recurrent_kernel` and `state`.

    References:
        [Hochreiter and Schmidhuber, 1997](https://doi.org/10.1162/neco.1997.9.8.1735), with forget gates.
    """
    inputs, recurrent_kernel, h, c = map(tf.convert_to_tensor, (inputs, recurrent_kernel, *state))
    keep = _checked_keep(keep, inputs, recurrent_kernel, gates=4)  # [T, R, 1]
    if inputs.shape[0] == 1:
        _, c, h = _lstm_step(inputs[0], recurrent_kernel, keep[0], h, c)
        return h[None], (h, c)
    outputs, c = compiled(_lstm_sequence, inputs.shape[0] > SHORT)(inputs, recurrent_kernel, keep, h, c)
    return outputs, (outputs[-1], c)


def gru(
    inputs: tf.Tensor, recurrent_kernel: tf.Tensor, recurrent_bias: tf.Tensor, keep: tf.Tensor, state: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Gated recurrent unit, Keras' gate order (update, reset, candidate), default activations, `reset_after=True`.

    With `a = inputs[t]` and `b = h @ recurrent_kernel + recurrent_bias`, each in three parts:
    `z = sigmoid(a_z + b_z)`, `r = sigmoid(a_r + b_r)`, `n = tanh(a_n + r * b_n)`; `h = z * h + (1 - z) * n`.

    Args:
        inputs: Float tensor `[T, R, 3H]`, input projections including the input bias.
        recurrent_kernel: Float tensor `[H, 3H]`.
        recurrent_bias: Float tensor `[3H]`.
        keep: Tensor `[T, R]`, 0 where an episode starts.
        state: Float tensor `[R, H]`.

    Returns:
        `(outputs, state)`: outputs `[T, R, H]` and the state after the last step. Gradients flow through both, to
        `inputs`, `recurrent_kernel`, `recurrent_bias` and `state`.

    References:
        [Cho et al., 2014](https://arxiv.org/abs/1406.1078), the reset gate applied after the product, as in cuDNN.
    """
    arguments = (inputs, recurrent_kernel, recurrent_bias, state)
    inputs, recurrent_kernel, recurrent_bias, state = map(tf.convert_to_tensor, arguments)
    keep = _checked_keep(keep, inputs, recurrent_kernel, gates=3)  # [T, R, 1]
    if inputs.shape[0] == 1:
        state, *_ = _gru_step(inputs[0], recurrent_kernel, recurrent_bias, keep[0], state)
        return state[None], state
    outputs = compiled(_gru_sequence, inputs.shape[0] > SHORT)(inputs, recurrent_kernel, recurrent_bias, keep, state)
    return outputs, outputs[-1]


def unroll(
    step: Callable[[Nest, Nest], tuple[Nest, Nest]], inputs: Nest, keep: tf.Tensor, state: Nest
) -> tuple[Nest, Nest]:
    """Any recurrent cell over a sequence, differentiated by TensorFlow.

    Args:
        step: Function `(inputs [R, ...], state) -> (outputs, state)`, all nests; the state keeps its structure, shapes
            and dtypes.
        inputs: Nest of tensors `[T, R, ...]`.
        keep: Tensor `[T, R]`, 0 where an episode starts.
        state: Nest of tensors `[R, ...]` of any dtype.

    Returns:
        `(outputs, state)`: nest of tensors `[T, R, ...]` and the state after the last step.
    """
    inputs, state = tf.nest.map_structure(tf.convert_to_tensor, (inputs, state))
    keep = tf.cast(keep, tf.bool)
    for x in tf.nest.flatten(inputs):
        _check_time(keep, x)
    steps = keep.shape[0]

    def at(t, state):
        return step(tf.nest.map_structure(lambda x: x[t], inputs), _zero_unless(keep[t], state))

    first, state = at(0, state)
    if steps == 1:
        return tf.nest.map_structure(lambda x: x[None], first), state
    arrays = tf.nest.map_structure(lambda x: tf.TensorArray(x.dtype, steps, element_shape=x.shape).write(0, x), first)

    def body(t, state, arrays):
        outputs, state = at(t, state)
        return t + 1, state, tf.nest.map_structure(lambda array, x: array.write(t, x), arrays, outputs)

    _, state, arrays = loop(lambda t, *_: t < steps, body, (1, state, arrays), steps - 1)
    return tf.nest.map_structure(lambda array: array.stack(), arrays), state


@tf.custom_gradient
def _lstm_sequence(inputs, kernel, keep, h0, c0):
    """`(outputs [T, R, H], last c)`; `keep` is `[T, R, 1]`."""
    steps, rows, units = inputs.shape[0], h0.shape[0], h0.shape[1]

    def body(t, h, c, gates, cs):
        gate, c, h = _lstm_step(inputs[t], kernel, keep[t], h, c)
        return t + 1, h, c, gates.write(t, gate), cs.write(t, c)

    arrays = [tf.TensorArray(inputs.dtype, steps, element_shape=(rows, n)) for n in (4 * units, units)]
    _, _, last_c, gates, cs = loop(lambda t, *_: t < steps, body, (0, h0, c0, *arrays), steps)
    gates, cs = gates.stack(), cs.stack()  # [T, R, 4H], [T, R, H]
    hs = gates[..., 3 * units :] * tf.tanh(cs)

    def slopes(gates, c, c_before):
        """`(slope, h_to_c)` with dc += dh * h_to_c; dz = concat([dc, dc, dc, dh]) * slope."""
        i, _, g, o = tf.split(gates, 4, axis=-1)
        tanh_c = tf.tanh(c)
        # The derivative of a sigmoid y is y - y * y, of a tanh 1 - y * y.
        is_tanh = tf.constant([0.0] * 2 * units + [1.0] * units + [0.0] * units, gates.dtype)
        slope = tf.concat([g, c_before, i, tanh_c], -1) * (is_tanh + gates * (1 - is_tanh - gates))
        return slope, o * (1 - tanh_c * tanh_c)

    def gradient(d_hs, d_last_c):
        large = rows * units >= LARGE_LSTM
        h_before, c_before = _before(hs, h0) * keep, _before(cs, c0) * keep
        known, kernel_t = None if large else slopes(gates, cs, c_before), tf.transpose(kernel)
        c_to_c = gates[..., units : 2 * units] * keep

        def backward(t, dh, dc, d_kernel, dzs):
            slope, h_to_c = slopes(gates[t], cs[t], c_before[t]) if known is None else (x[t] for x in known)
            dh = dh + d_hs[t]
            dc = dc + dh * h_to_c
            dz = tf.concat([dc, dc, dc, dh], -1) * slope
            if large:
                d_kernel += tf.cast(_outer(h_before[t], dz), d_kernel.dtype)
            return t - 1, tf.matmul(dz, kernel_t) * keep[t], dc * c_to_c[t], d_kernel, dzs.write(t, dz)

        array = tf.TensorArray(inputs.dtype, steps, element_shape=(rows, 4 * units))
        start = (steps - 1, tf.zeros_like(h0), d_last_c, _sum_of(kernel), array)
        _, dh, dc, d_kernel, dzs = loop(lambda t, *_: t >= 0, backward, start, steps)
        dz = dzs.stack()
        d_kernel = tf.cast(d_kernel, kernel.dtype) if large else _outer(h_before, dz)
        return dz, d_kernel, None, dh, dc

    return (hs, last_c), gradient


@tf.custom_gradient
def _gru_sequence(inputs, kernel, bias, keep, h0):
    """Outputs `[T, R, H]`; `keep` is `[T, R, 1]`."""
    steps, rows, units = inputs.shape[0], h0.shape[0], h0.shape[1]

    def body(t, h, *arrays):
        h, *gates = _gru_step(inputs[t], kernel, bias, keep[t], h)
        return t + 1, h, *[array.write(t, x) for array, x in zip(arrays, (h, *gates), strict=True)]

    arrays = [tf.TensorArray(inputs.dtype, steps, element_shape=(rows, units)) for _ in range(5)]
    _, _, *arrays = loop(lambda t, *_: t < steps, body, (0, h0, *arrays), steps)
    hs, z, r, n, inner = [array.stack() for array in arrays]

    def slopes(h_before, z, r, n, inner):
        """`(n_slope, inner_slope)` with d(h @ kernel) = tile(dh) * inner_slope, where dh is the whole gradient of h.

        d(inputs) is the same, but for the candidate's part: dh * n_slope.
        """
        n_slope = (1 - z) * (1 - n * n)
        return n_slope, tf.concat([(h_before - n) * z * (1 - z), n_slope * inner * r * (1 - r), n_slope * r], -1)

    def gradient(d_hs):
        large = rows * units >= LARGE_GRU
        kept = _before(hs, h0) * keep, z, r, n, inner
        known, h_to_h, kernel_t = None if large else slopes(*kept), z * keep, tf.transpose(kernel)

        def backward(t, dh, d_kernel, d_bias, dxs):
            n_slope, inner_slope = slopes(*[x[t] for x in kept]) if known is None else (x[t] for x in known)
            dh = dh + d_hs[t]
            d_inner = tf.concat([dh, dh, dh], -1) * inner_slope
            if large:
                d_kernel += tf.cast(_outer(kept[0][t], d_inner), d_kernel.dtype)
                d_bias += tf.reduce_sum(tf.cast(d_inner, d_bias.dtype), 0)
            dx = tf.concat([d_inner[:, : 2 * units], dh * n_slope], -1) if large else dh
            return t - 1, dh * h_to_h[t] + tf.matmul(d_inner, kernel_t) * keep[t], d_kernel, d_bias, dxs.write(t, dx)

        array = tf.TensorArray(inputs.dtype, steps, element_shape=(rows, 3 * units if large else units))
        start = (steps - 1, tf.zeros_like(h0), _sum_of(kernel), _sum_of(bias), array)
        _, dh0, d_kernel, d_bias, dxs = loop(lambda t, *_: t >= 0, backward, start, steps)
        if known is None:
            return dxs.stack(), tf.cast(d_kernel, kernel.dtype), tf.cast(d_bias, bias.dtype), None, dh0
        dh, (n_slope, inner_slope) = dxs.stack(), known
        d_inner = tf.tile(dh, [1, 1, 3]) * inner_slope
        d_inputs = tf.concat([d_inner[..., : 2 * units], dh * n_slope], -1)
        return d_inputs, _outer(kept[0], d_inner), tf.reduce_sum(d_inner, [0, 1]), None, dh0

    return hs, gradient


def _lstm_step(x, kernel, keep, h, c):
    """One step; returns the activated gates `[R, 4H]`, c and h."""
    z = x + tf.matmul(h, kernel) * keep
    # sigmoid(z) = tanh(z / 2) / 2 + 1/2, so one tanh serves all gates: fewer, larger kernels inside the loop.
    units = h.shape[-1]
    scale = tf.constant([0.5] * 2 * units + [1.0] * units + [0.5] * units, x.dtype)
    shift = tf.constant([0.5] * 2 * units + [0.0] * units + [0.5] * units, x.dtype)
    gates = tf.tanh(z * scale) * scale + shift
    i, f, g, o = tf.split(gates, 4, axis=-1)
    c = f * (c * keep) + i * g
    return gates, c, o * tf.tanh(c)


def _gru_step(x, kernel, bias, keep, h):
    """One step; returns h, the update gate, the reset gate, the candidate, and what the reset gate multiplies."""
    inner = tf.matmul(h, kernel) * keep + bias
    (x_z, x_r, x_n), (h_z, h_r, h_n) = tf.split(x, 3, axis=-1), tf.split(inner, 3, axis=-1)
    r = 0.5 * tf.tanh(0.5 * (x_r + h_r)) + 0.5  # a sigmoid, faster under XLA
    # One tanh for update gate and candidate: with one each, XLA makes a single kernel of all three that is half as fast.
    z, n = tf.split(tf.tanh(tf.concat([0.5 * (x_z + h_z), x_n + r * h_n], -1)), 2, axis=-1)
    z = 0.5 * z + 0.5
    return n + z * (h * keep - n), z, r, n, h_n


def _before(states, initial):
    """The state that each step started from, `[T, R, H]`."""
    return tf.concat([initial[None], states[:-1]], 0)


def _outer(x, dy):
    """Gradient of the kernel of `y = x @ kernel`, `[..., R, N]` and `[..., R, M]` -> `[N, M]`."""
    axes = list(range(x.shape.rank - 1))
    return tf.tensordot(x, dy, [axes, axes])


def _sum_of(x):
    """Zeros for the sum of gradients of a variable, in at least float32."""
    return tf.zeros(x.shape, x.dtype if x.dtype.size > 2 else tf.float32)


def _zero_unless(keep, state):
    """Zeroes the rows `[R, ...]` where `keep` `[R]` is false; works for every dtype."""

    def reset(x):
        mask = tf.reshape(keep, [-1] + [1] * (len(x.shape) - 1))
        return tf.where(mask, x, tf.zeros_like(x))

    return tf.nest.map_structure(reset, state)


def _checked_keep(keep, inputs, kernel, gates):
    """`keep` as `[T, R, 1]` of the inputs' dtype."""
    keep = tf.cast(keep, inputs.dtype)
    _check_time(keep, inputs)
    if inputs.shape[-1] != kernel.shape[-1] or kernel.shape[-1] != gates * kernel.shape[0]:
        raise ValueError(
            f"`inputs` must be [T, R, {gates}H] projections for a `recurrent_kernel` [H, {gates}H]. "
            f"Received: inputs.shape={inputs.shape}, recurrent_kernel.shape={kernel.shape}"
        )
    return keep[..., None]


def _check_time(keep, x):
    if x.shape.rank is None or x.shape[0] is None or not x.shape[:2].is_compatible_with(keep.shape):
        raise ValueError(
            "`inputs` must be [T, R, ...] for `keep` [T, R], with a static T. "
            f"Received: inputs.shape={x.shape}, keep.shape={keep.shape}"
        )
