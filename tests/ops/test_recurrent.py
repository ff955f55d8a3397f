"""Recurrent passes against the cells' equations, Keras' layers, autodiff of a loop and finite differences."""

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf

from keras_rl_prob import ops
from keras_rl_prob.ops import recurrent

MODES = {"eager": lambda f: f, "graph": tf.function, "jit": tf.function(jit_compile=True)}
ROWS, UNITS = 3, 4


def sequence(kind, steps=7, seed=0, dtype=np.float32):
    """`(inputs, kernel, [bias,] *state)` and keep: resets at the very first row, in the middle, two in succession."""
    rng = np.random.default_rng(seed)
    gates = {"lstm": 4, "gru": 3}[kind]
    inputs, kernel = rng.normal(size=(steps, ROWS, gates * UNITS)), rng.normal(size=(UNITS, gates * UNITS))
    bias = [rng.normal(size=gates * UNITS)] if kind == "gru" else []
    states = rng.normal(size=(2 if kind == "lstm" else 1, ROWS, UNITS))
    keep = np.ones((steps, ROWS), dtype)
    keep[0, 0] = keep[steps // 2, 1] = keep[steps // 2 : steps // 2 + 2, 2] = 0
    return [x.astype(dtype) for x in (inputs, kernel, *bias, *states)], keep


def fast(kind, args, keep):
    """The function under test on flat arguments: `(outputs, *state)`."""
    if kind == "lstm":
        inputs, kernel, h, c = args
        outputs, (h, c) = ops.lstm(inputs, kernel, keep, (h, c))
        return outputs, h, c
    inputs, kernel, bias, h = args
    return ops.gru(inputs, kernel, bias, keep, h)


def loop_of_cells(kind, args, keep):
    """Keras' own cell equations step by step in Python; the reset is a `tf.where`. TensorFlow differentiates it."""
    inputs, kernel, *rest = args
    states = list(rest[1:] if kind == "gru" else rest)
    outputs = []
    for t in range(len(keep)):
        states = [tf.where(keep[t][:, None] > 0, s, tf.zeros_like(s)) for s in states]
        if kind == "lstm":
            h, c = states
            i, f, g, o = tf.split(inputs[t] + h @ kernel, 4, axis=-1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            states = [tf.sigmoid(o) * tf.tanh(c), c]
        else:
            (h,) = states
            x, y = tf.split(inputs[t], 3, axis=-1), tf.split(h @ kernel + rest[0], 3, axis=-1)
            z, r = tf.sigmoid(x[0] + y[0]), tf.sigmoid(x[1] + y[1])
            states = [z * h + (1 - z) * tf.tanh(x[2] + r * y[2])]
        outputs.append(states[0])
    return tf.stack(outputs), *states


def gradients(function, kind, args, keep, through, mode="eager"):
    """Gradients by all arguments of a weighted sum of the results named in `through`: outputs, state or both."""
    rng = np.random.default_rng(9)
    shapes = [(len(keep), ROWS, UNITS)] + [(ROWS, UNITS)] * (2 if kind == "lstm" else 1)
    weights = [rng.normal(size=shape) for shape in shapes]
    used = {"outputs": slice(0, 1), "state": slice(1, None), "carry": slice(2, None), "both": slice(None)}[through]

    @MODES[mode]
    def run(*args):
        with tf.GradientTape() as tape:
            tape.watch(args)
            results = function(kind, args, keep)
            loss = tf.add_n([tf.reduce_sum(x * w) for x, w in list(zip(results, weights, strict=True))[used]])
        return tape.gradient(loss, args)

    return [g.numpy() for g in run(*[tf.constant(x) for x in args])]


def long(*cases):
    """Cases for `make test-all`: every number of steps and every mode are among the others."""
    return [pytest.param(*case, marks=pytest.mark.long) for case in cases]


@pytest.mark.parametrize(
    ("steps", "mode"),
    [
        *[(1, "eager"), (2, "eager"), (7, "eager"), (2, "graph"), (1, "jit"), (7, "jit")],
        *long((1, "graph"), (7, "graph"), (2, "jit")),
    ],
)
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_outputs_and_state_follow_the_equations(kind, steps, mode):
    args, keep = sequence(kind, steps)
    results = MODES[mode](lambda *args: fast(kind, args, keep))(*args)
    expected = oracles.lstm(*args[:2], keep, *args[2:]) if kind == "lstm" else oracles.gru(*args[:3], keep, *args[3:])
    for x, y in zip(results, expected, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)


@pytest.mark.parametrize(
    ("steps", "through", "mode"),
    [
        *[(7, "outputs", "eager"), (7, "outputs", "jit")],  # the gradient of the state is then implicit
        *[(7, "state", "eager"), (7, "state", "graph"), (7, "both", "eager"), (1, "both", "jit"), (2, "both", "graph")],
        *long((7, "outputs", "graph"), (7, "state", "jit"), (1, "both", "eager")),
    ],
)
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_gradients_are_those_of_autodiff(kind, steps, through, mode):
    args, keep = sequence(kind, steps)
    expected = gradients(loop_of_cells, kind, args, keep, through)
    for x, y in zip(gradients(fast, kind, args, keep, through, mode), expected, strict=True):
        np.testing.assert_allclose(x, y, atol=2e-5)


@pytest.fixture
def large(monkeypatch):
    """Every state counts as a large one."""
    monkeypatch.setattr(recurrent, "LARGE_LSTM", 1)
    monkeypatch.setattr(recurrent, "LARGE_GRU", 1)


@pytest.mark.parametrize(
    ("through", "mode"), [("both", "eager"), ("outputs", "jit"), ("state", "graph"), *long(("both", "jit"))]
)
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_gradients_of_a_large_state_are_those_of_autodiff(kind, through, mode, large):
    args, keep = sequence(kind, 9)
    expected = gradients(loop_of_cells, kind, args, keep, through)
    for x, y in zip(gradients(fast, kind, args, keep, through, mode), expected, strict=True):
        np.testing.assert_allclose(x, y, atol=2e-5)


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float64], ids=["bfloat16", "float64"])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_gradients_of_a_large_state_are_summed_precisely(kind, dtype, large, monkeypatch):
    args, keep = sequence(kind, 200, dtype=np.float64)
    args[0][:] = args[0][0]  # every step adds something similar, which a sum in bfloat16 soon would not notice
    args = [tf.cast(x, dtype) for x in args]

    def kernel_and_bias():
        with tf.GradientTape() as tape:
            tape.watch(args)
            loss = tf.reduce_sum(tf.cast(fast(kind, args, keep)[0], tf.float64))
        return [x.numpy().astype(np.float64) for x in tape.gradient(loss, args)[1 : 3 if kind == "gru" else 2]]

    found = kernel_and_bias()
    monkeypatch.setattr(recurrent, "LARGE_LSTM", 10**9)
    monkeypatch.setattr(recurrent, "LARGE_GRU", 10**9)
    tolerance = 1e-2 if dtype == tf.bfloat16 else 1e-12
    for x, y in zip(found, kernel_and_bias(), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * np.abs(y).max())


def test_gradient_of_the_last_carry_alone():
    args, keep = sequence("lstm")
    expected = gradients(loop_of_cells, "lstm", args, keep, "carry")
    for x, y in zip(gradients(fast, "lstm", args, keep, "carry"), expected, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_gradients_are_finite_differences(kind):
    args, keep = sequence(kind, steps=4, dtype=np.float64)
    analytic = gradients(fast, kind, args, keep, "both")
    rng, epsilon = np.random.default_rng(9), 1e-6
    weights = [rng.normal(size=x.shape) for x in fast(kind, args, keep)]

    def loss(args):
        return sum(np.sum(x.numpy() * w) for x, w in zip(fast(kind, args, keep), weights, strict=True))

    for k, x in enumerate(args):
        for index in [np.unravel_index(i, x.shape) for i in rng.choice(x.size, min(x.size, 6), replace=False)]:
            up, down = ([y.copy() for y in args] for _ in range(2))
            up[k][index] += epsilon
            down[k][index] -= epsilon
            difference = (loss(up) - loss(down)) / (2 * epsilon)
            np.testing.assert_allclose(analytic[k][index], difference, rtol=1e-5, atol=1e-7)


def test_lstm_is_the_keras_layer():
    layer = keras.layers.LSTM(UNITS, return_sequences=True, return_state=True, bias_initializer="normal")
    x = np.random.default_rng(0).normal(size=(ROWS, 6, 5)).astype("float32")
    expected = layer(x)
    kernel, recurrent_kernel, bias = layer.get_weights()
    zero = tf.zeros((ROWS, UNITS))
    outputs, state = ops.lstm(
        tf.transpose(x @ kernel + bias, [1, 0, 2]), recurrent_kernel, tf.ones((6, ROWS)), (zero, zero)
    )
    for x, y in zip((tf.transpose(outputs, [1, 0, 2]), *state), expected, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)


def test_gru_is_the_keras_layer():
    layer = keras.layers.GRU(UNITS, return_sequences=True, return_state=True, bias_initializer="normal")
    x = np.random.default_rng(0).normal(size=(ROWS, 6, 5)).astype("float32")
    expected = layer(x)
    kernel, recurrent_kernel, bias = layer.get_weights()
    inputs = tf.transpose(x @ kernel + bias[0], [1, 0, 2])
    outputs, state = ops.gru(inputs, recurrent_kernel, bias[1], tf.ones((6, ROWS)), tf.zeros((ROWS, UNITS)))
    for x, y in zip((tf.transpose(outputs, [1, 0, 2]), state), expected, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_nothing_crosses_a_reset(kind):
    args, keep = sequence(kind)
    keep[:] = 1
    keep[4] = 0
    gradient = gradients(
        lambda *a: (fast(*a)[0] * tf.cast(tf.range(7) >= 4, tf.float32)[:, None, None], *fast(*a)[1:]),
        kind,
        args,
        keep,
        "both",
    )
    assert (gradient[0][:4] == 0).all()
    assert (gradient[0][4:] != 0).any(axis=(1, 2)).all()
    for state_gradient in gradient[-2:] if kind == "lstm" else gradient[-1:]:
        assert (state_gradient == 0).all()


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize(("steps", "loops", "compiled"), [(1, False, False), (8, True, False), (9, True, True)])
def test_a_long_loop_is_compiled_in_a_plain_graph_and_none_is_built_for_one_step(kind, steps, loops, compiled):
    args, keep = sequence(kind, steps)
    function = tf.function(lambda *args: fast(kind, args, keep)).get_concrete_function(*map(tf.constant, args))
    definition = function.graph.as_graph_def()
    nodes = [*definition.node, *(node for inner in definition.library.function for node in inner.node_def)]
    assert any("While" in node.op for node in nodes) == loops
    assert any(inner.attr["_XlaMustCompile"].b for inner in definition.library.function) == compiled


def counting_step(x, state):
    """A cell with a nested state that holds an integer: outputs the decayed sum and the row's age."""
    total = 0.5 * state["total"][0] + x["a"] * x["b"][:, None]
    return {"total": total, "age": state["age"]}, {"total": [total], "age": state["age"] + 1}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("steps", [1, 6])
def test_unroll_runs_nested_inputs_states_and_outputs(steps, mode):
    rng = np.random.default_rng(0)
    inputs = {"a": rng.normal(size=(steps, ROWS, 2)), "b": rng.normal(size=(steps, ROWS))}
    keep = rng.uniform(size=(steps, ROWS)) < 0.6
    total, age = rng.normal(size=(ROWS, 2)), np.array([5, 6, 7])
    run = MODES[mode](lambda inputs, keep, state: ops.unroll(counting_step, inputs, keep, state))
    state = {"total": [tf.constant(total)], "age": tf.constant(age)}
    outputs, state = run(tf.nest.map_structure(tf.constant, inputs), tf.constant(keep), state)
    for t in range(steps):
        total, age = total * keep[t][:, None], age * keep[t]
        total = 0.5 * total + inputs["a"][t] * inputs["b"][t][:, None]
        np.testing.assert_allclose(outputs["total"][t], total)
        np.testing.assert_array_equal(outputs["age"][t], age)
        age = age + 1
    np.testing.assert_allclose(state["total"][0], total)
    np.testing.assert_array_equal(state["age"], age)


@pytest.mark.parametrize("mode", MODES)
def test_unroll_differentiates(mode):
    """`total[t]` has gradient `0.5^(t - k)` by `x[k]` unless a reset lies between; resets after steps 0 and 3."""
    keep = np.array([[0.0], [1], [1], [0], [1]], np.float32)

    @MODES[mode]
    def gradient(x, total):
        with tf.GradientTape() as tape:
            tape.watch((x, total))
            step = lambda x, s: (0.5 * s + x,) * 2  # noqa: E731
            last = ops.unroll(step, x, keep, total)[1] + 10 * ops.unroll(step, x, keep, total)[0][2]
        return tape.gradient(last, (x, total))

    by_x, by_total = gradient(tf.zeros((5, 1)), tf.ones((1,)))
    np.testing.assert_allclose(by_x[:, 0], [2.5, 5.0, 10.0, 0.5, 1.0])
    assert by_total == 0


def test_unroll_of_one_step_builds_no_loop():
    function = tf.function(lambda x: ops.unroll(lambda x, s: (x + s, s), x, tf.ones((1, 3)), tf.zeros((3,))))
    graph = function.get_concrete_function(tf.zeros((1, 3))).graph
    assert not any("While" in op.type for op in graph.get_operations())


def test_errors():
    (inputs, kernel, h, c), keep = sequence("lstm")
    with pytest.raises(
        ValueError, match=r"`inputs` must be \[T, R, 4H\] .*Received: inputs.shape=\(7, 3, 16\), recurrent_k"
    ):
        ops.lstm(inputs, kernel[:, :12], keep, (h, c))
    with pytest.raises(ValueError, match=r"`inputs` must be \[T, R, 3H\] .*recurrent_kernel.shape=\(4, 16\)"):
        ops.gru(inputs, kernel, np.zeros(16), keep, h)
    with pytest.raises(
        ValueError, match=r"`inputs` must be .* Received: inputs.shape=\(7, 3, 16\), keep.shape=\(6, 3\)"
    ):
        ops.lstm(inputs, kernel, keep[:-1], (h, c))
    with pytest.raises(
        ValueError, match=r"`inputs` must be .* Received: inputs.shape=\(7, 3, 16\), keep.shape=\(7, 2\)"
    ):
        ops.unroll(lambda x, s: (x, s), tf.constant(inputs), keep[:, 1:], h)
    dynamic = tf.function(lambda x: ops.unroll(lambda x, s: (x, s), x, x[..., 0], tf.zeros((3,))))
    with pytest.raises(ValueError, match=r"with a static T\. Received: inputs.shape=\(None, 3, 2\)"):
        dynamic.get_concrete_function(tf.TensorSpec((None, 3, 2)))
