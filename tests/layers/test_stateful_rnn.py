"""`StatefulRNN`: any cell, one step when called directly, equal results of fast and generic implementations, errors, saving."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rl_prob.layers import StatefulRNN, Unrolled

MODES = {"eager": lambda f: f, "graph": tf.function, "jit": tf.function(jit_compile=True)}
ROWS, FEATURES, STEPS = 3, 5, 6


@keras.saving.register_keras_serializable("test_stateful_rnn")
class NestedCell(keras.layers.Layer):
    """Adds up its inputs, times its age: a nested state with an integer, and no `output_size`."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.state_size = [units, [units, 1]]

    def get_initial_state(self, batch_size=None):
        """Not zeros, on purpose: a layer's state starts as zeros."""
        total = tf.ones((batch_size, self.units))
        return [total, [2 * total, tf.ones((batch_size, 1), tf.int32)]]

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")

    def call(self, inputs, states):
        assert isinstance(states, list), "the nesting of `get_initial_state`"
        total, (half, age) = states
        total = total + tf.matmul(inputs, self.kernel)
        return total * tf.cast(age, tf.float32), [total, [half * 0.5 + total, age + 1]]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class SlowLSTM(keras.layers.LSTMCell):
    """Not exactly an `LSTMCell`, hence run by the generic loop."""


class SlowGRU(keras.layers.GRUCell):
    """Not exactly a `GRUCell`."""


class BareCell(keras.layers.Layer):
    """A minimal cell: a layer with `state_size` and `call`, without `get_initial_state`."""

    state_size = 4

    def call(self, inputs, states):
        output = states[0] * 0.5 + inputs[:, :4]
        return output, [output]


COMPILED = {"lstm", "gru", "simple", "stacked"}
CELLS = {
    "lstm": lambda: keras.layers.LSTMCell(4),
    "lstm without bias": lambda: keras.layers.LSTMCell(4, use_bias=False),
    "lstm relu": lambda: keras.layers.LSTMCell(4, activation="relu"),
    "gru": lambda: keras.layers.GRUCell(4, bias_initializer="normal"),
    "gru without bias": lambda: keras.layers.GRUCell(4, use_bias=False),
    "gru reset before": lambda: keras.layers.GRUCell(4, reset_after=False),
    "gru hard": lambda: keras.layers.GRUCell(4, recurrent_activation="hard_sigmoid"),
    "simple": lambda: keras.layers.SimpleRNNCell(4),
    "bare": BareCell,
    "nested": lambda: NestedCell(4),
    "stacked": lambda: keras.layers.StackedRNNCells([keras.layers.LSTMCell(7), NestedCell(6), keras.layers.GRUCell(4)]),
    "list": lambda: [keras.layers.SimpleRNNCell(6), keras.layers.LSTMCell(4)],
    "list of one": lambda: [keras.layers.LSTMCell(4)],
}


def observations(seed=0):
    """Inputs `[T, B, F]` and `is_first` with resets in the first row, in the middle, and in succession."""
    is_first = np.zeros((STEPS, ROWS), bool)
    is_first[0, 0] = is_first[3, 1] = is_first[3:5, 2] = True
    return np.random.default_rng(seed).normal(size=(STEPS, ROWS, FEATURES)).astype("float32"), is_first


def network_of(cell, seed=0):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((FEATURES,))
    return keras.Model(inputs, StatefulRNN(cell)(inputs))


def zero_states(cell):
    """States as the cell itself wants them, all zeros, by the description of the Keras cell interface."""
    if isinstance(cell, keras.layers.StackedRNNCells):
        return [zero_states(c) for c in cell.cells]
    if isinstance(cell, NestedCell):
        total, half = np.zeros((2, 1, cell.units), "float32")
        return [total, [half, np.zeros((1, 1), "int32")]]
    sizes = cell.state_size if isinstance(cell.state_size, list) else [cell.state_size]
    return [np.zeros((1, n), "float32") for n in sizes]


def row_by_row(cell, x, is_first):
    """Outputs `[T, B, units]` of the Keras cell, one environment and one step at a time."""
    outputs = np.zeros((STEPS, ROWS, 4), "float32")
    for row in range(ROWS):
        state = zero_states(cell)
        for t in range(STEPS):
            if is_first[t, row]:
                state = zero_states(cell)
            output, state = step_of(cell, tf.constant(x[t, row][None]), state)
            outputs[t, row] = output[0]
    return outputs


def step_of(cell, x, state):
    if not isinstance(cell, keras.layers.StackedRNNCells):
        return cell(x, keras.tree.map_structure(tf.constant, state))
    states = []
    for inner, s in zip(cell.cells, state, strict=True):
        x, s = step_of(inner, x, s)
        states.append(s)
    return x, states


@pytest.mark.parametrize(
    ("name", "mode"),
    [*[(name, "jit" if name in COMPILED else "eager") for name in CELLS], ("stacked", "graph"), ("nested", "jit")],
)
def test_sequence_is_the_cell_row_by_row(name, mode):
    network = network_of(CELLS[name]())
    (x, is_first), unrolled = observations(), Unrolled(network)
    outputs, state = MODES[mode](unrolled)(x, is_first, unrolled.initial_state(ROWS))
    np.testing.assert_allclose(outputs, row_by_row(network.layers[1].cell, x, is_first), atol=2e-6)
    keras.tree.assert_same_structure(state, unrolled.initial_state(ROWS))


@pytest.mark.parametrize("name", CELLS)
def test_plain_call_is_one_step_from_a_zero_state(name):
    network = network_of(CELLS[name]())
    x, is_first = observations()
    assert network.output_shape == (None, 4)
    expected = row_by_row(network.layers[1].cell, x, is_first)[0]
    np.testing.assert_allclose(network(x[0]), expected, atol=2e-6)
    if name in COMPILED:
        np.testing.assert_allclose(network.predict(x[0], verbose=0), expected, atol=2e-6)


def run_with_gradients(network, mode):
    x, is_first = observations()
    unrolled = Unrolled(network)
    start = tf.nest.map_structure(lambda s: s + 0.3, unrolled.initial_state(ROWS))

    @MODES[mode]
    def run(x, start):
        with tf.GradientTape() as tape:
            tape.watch((x, start))
            outputs, state = unrolled(x, is_first, start)
            loss = tf.reduce_sum(outputs**2) + tf.add_n([tf.reduce_sum(tf.sin(s)) for s in tf.nest.flatten(state)])
        return outputs, state, tape.gradient(loss, (network.trainable_weights, x, start))

    return [y.numpy() for y in tf.nest.flatten(run(tf.constant(x), start))]


PATHS = {"lstm": (keras.layers.LSTMCell, SlowLSTM), "gru": (keras.layers.GRUCell, SlowGRU)}


@pytest.mark.parametrize(
    ("name", "mode", "use_bias"),
    [
        *[("lstm", "jit", True), ("gru", "graph", True), ("lstm", "eager", False), ("gru", "eager", False)],
        # each with its gradients, in every mode: tests/ops/test_recurrent.py
        *[pytest.param(*case, True, marks=pytest.mark.long) for case in (("gru", "jit"), ("lstm", "graph"))],
    ],
)
def test_fast_path_is_the_generic_one(name, mode, use_bias):
    fast, slow = PATHS[name]
    arguments = {"units": 4, "use_bias": use_bias, "bias_initializer": "normal"}
    networks = [network_of(cell(**arguments)) for cell in (fast, slow)]
    networks[1].set_weights(networks[0].get_weights())
    for x, y in zip(*[run_with_gradients(network, mode) for network in networks], strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        *[
            ("lstm", True),
            ("lstm without bias", True),
            ("gru", True),
            ("gru without bias", True),
            ("list of one", True),
        ],
        *[("lstm relu", False), ("gru hard", False), ("gru reset before", False), ("simple", False), ("list", False)],
    ],
)
def test_default_cells_have_written_gradients(name, written):
    """TensorFlow's gradient of a loop pushes what it needs onto lists; the written ones never do."""
    network = network_of(CELLS[name]())
    unrolled, (x, is_first) = Unrolled(network), observations()

    @tf.function
    def gradient(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(unrolled(x, is_first, unrolled.initial_state(ROWS))[0])
        return tape.gradient(loss, network.trainable_weights)

    library = gradient.get_concrete_function(tf.constant(x)).graph.as_graph_def().library
    assert written != any(node.op == "TensorListPushBack" for f in library.function for node in f.node_def)


def test_regularizers_of_the_cell_count():
    network = network_of(keras.layers.LSTMCell(4, kernel_regularizer=keras.regularizers.L2(0.1)))
    (loss,) = network.losses
    np.testing.assert_allclose(loss, 0.1 * np.sum(network.get_weights()[0] ** 2), rtol=1e-5)


@pytest.mark.parametrize("name", ["lstm", "gru", "simple"])
def test_mixed_precision_keeps_state_and_output_in_the_compute_dtype(name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = network_of(CELLS[name]())
    finally:
        keras.config.set_dtype_policy("float32")
    unrolled, (x, is_first) = Unrolled(network), observations()
    outputs, state = tf.function(unrolled)(x, is_first, unrolled.initial_state(ROWS))
    assert {y.dtype for y in (outputs, *tf.nest.flatten(state))} == {tf.bfloat16}
    assert {w.dtype for w in network.weights} == {"float32"}
    reference = network_of(CELLS[name]())
    reference.set_weights(network.get_weights())
    expected, _ = Unrolled(reference)(x, is_first, Unrolled(reference).initial_state(ROWS))
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), expected, atol=0.05)


def test_layer_takes_the_dtype_of_its_cell():
    assert StatefulRNN(keras.layers.LSTMCell(4, dtype="float64")).compute_dtype == "float64"
    layer = StatefulRNN(keras.layers.LSTMCell(4, dtype="float64"))
    assert layer(np.ones((2, 3))).dtype == layer.initial_state(2)[0].dtype == tf.float64


@pytest.mark.parametrize("cell", [keras.layers.LSTMCell, keras.layers.GRUCell], ids=["lstm", "gru"])
def test_stacked_cells_keep_their_own_dtypes(cell):
    cells = [cell(4, dtype="mixed_bfloat16"), cell(3, dtype="float32")]
    layer = StatefulRNN(keras.layers.StackedRNNCells(cells))
    assert layer(np.ones((2, 5), np.float32)).dtype == tf.float32
    assert [state[0].dtype for state in layer.initial_state(2)] == [tf.bfloat16, tf.float32]


SERIALIZABLE = [name for name in CELLS if name != "bare"]


@pytest.mark.parametrize("name", SERIALIZABLE)
def test_config_survives_json(name):
    layer = StatefulRNN(CELLS[name](), name="memory")
    config = json.loads(json.dumps(layer.get_config()))
    again = StatefulRNN.from_config(config)
    assert again.get_config() == layer.get_config()
    assert again.name == "memory"
    assert "cell" in config  # not consumed


@pytest.mark.parametrize("name", SERIALIZABLE)
def test_saved_network_needs_no_custom_objects(name, tmp_path):
    network = network_of(CELLS[name]())
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    x, is_first = observations()
    results = [Unrolled(n)(x, is_first, Unrolled(n).initial_state(ROWS)) for n in (network, loaded)]
    keras.tree.map_structure(np.testing.assert_array_equal, *results)


class NoState(keras.layers.Layer):
    pass


@pytest.mark.parametrize("cell", [None, 64, "lstm", [], NoState(), keras.layers.LSTMCell, [keras.layers.GRUCell(2), 3]])
def test_invalid_cells(cell):
    with pytest.raises(TypeError, match=r"`cell` must be a Keras RNN cell with a `state_size`. Received: cell="):
        StatefulRNN(cell)


@pytest.mark.parametrize("rate", ["dropout", "recurrent_dropout"])
def test_dropout_inside_of_cells(rate):
    cell = keras.layers.GRUCell(4, **{rate: 0.5})
    for given in (cell, [keras.layers.LSTMCell(4), cell], keras.layers.StackedRNNCells([cell])):
        with pytest.raises(ValueError, match=rf"`cell` must have no `{rate}`: .* Received: cell=.* with {rate}=0.5"):
            StatefulRNN(given)
