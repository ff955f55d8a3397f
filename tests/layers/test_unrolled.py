"""`Unrolled`: sequences in chunks and step by step, resets, any network, threads and errors."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rl_prob.layers import StatefulRNN, Unrolled

MODES = {"eager": lambda f: f, "graph": tf.function, "jit": tf.function(jit_compile=True)}
ROWS, STEPS = 3, 8


def encoder():
    """A sub-model with memory, within a sub-model."""
    inputs = keras.Input((6,))
    inner = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5), StatefulRNN(keras.layers.GRUCell(7))])
    return keras.Model(inputs, inner(inputs))


def rich_network(seed=0):
    """Dict and tuple inputs, convolution, three memories of different sizes at different depths, nested outputs."""
    keras.utils.set_random_seed(seed)
    image, vector, number = keras.Input((6, 6, 2), name="image"), keras.Input((6,)), keras.Input((), dtype="int32")
    pixels = keras.layers.Flatten()(keras.layers.Conv2D(2, 3, activation="tanh")(image))
    x = keras.layers.Concatenate()([pixels, encoder()(vector), keras.layers.Embedding(4, 3)(number)])
    slow, quick = (
        StatefulRNN(keras.layers.LSTMCell(4)),
        StatefulRNN([keras.layers.SimpleRNNCell(3), keras.layers.LSTMCell(5)]),
    )
    x = keras.layers.Concatenate()([slow(x), quick(x)])
    outputs = {"action": (keras.layers.Dense(2)(x), keras.layers.Dense(3)(x)), "value": keras.layers.Dense(1)(x)}
    return keras.Model({"image": image, "rest": (vector, number)}, outputs)


def simple_network():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    return keras.Model(inputs, StatefulRNN(keras.layers.LSTMCell(3))(inputs))


def feed_forward_network():
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dropout(0.5)(inputs)))


def rich_observations(seed=0):
    """Observations and `is_first` with resets in the first row, in the middle and in succession."""
    rng = np.random.default_rng(seed)
    image, vector = rng.normal(size=(STEPS, ROWS, 6, 6, 2)), rng.normal(size=(STEPS, ROWS, 6))
    number = rng.integers(4, size=(STEPS, ROWS)).astype("int32")
    is_first = np.zeros((STEPS, ROWS), bool)
    is_first[0, 0] = is_first[3, 1] = is_first[4:6, 2] = True
    return {"image": image.astype("float32"), "rest": (vector.astype("float32"), number)}, is_first


def simple_observations():
    return np.random.default_rng(0).normal(size=(STEPS, ROWS, 4)).astype("float32"), rich_observations()[1]


def some_state(unrolled):
    """Different in every component, so that any mix-up shows."""
    state, rng = unrolled.initial_state(ROWS), np.random.default_rng(1)
    return keras.tree.map_structure(lambda x: tf.constant(rng.normal(size=x.shape) * 0.5, x.dtype), state)


def part(nest, index):
    return keras.tree.map_structure(lambda x: x[index], nest)


def assert_close(actual, expected, atol=1e-6):
    keras.tree.assert_same_structure(actual, expected)
    for x, y in zip(keras.tree.flatten(actual), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(x, y, atol=atol)


# In a graph without XLA: `test_rows_do_not_mix`.
@pytest.mark.parametrize("mode", ["eager", pytest.param("graph", marks=pytest.mark.long), "jit"])
def test_step_by_step_and_in_chunks_is_the_whole(mode):
    unrolled, (x, is_first) = Unrolled(rich_network()), rich_observations()
    run, step = MODES[mode](unrolled), MODES[mode](unrolled.step)
    outputs, final = run(x, is_first, some_state(unrolled))
    state = some_state(unrolled)
    for t in range(STEPS):
        row, state = step(part(x, t), is_first[t], state)
        assert_close(row, part(outputs, t))
    assert_close(state, final)
    state, rows = some_state(unrolled), []
    for chunk in (
        slice(0, 3),
        slice(3, 4),
        slice(4, 7),
        slice(7, None),
    ):  # the second has T = 1 and starts with a reset
        chunk_outputs, state = run(part(x, chunk), is_first[chunk], state)
        rows.append(chunk_outputs)
    assert_close(keras.tree.map_structure(lambda *xs: tf.concat(xs, 0), *rows), outputs)
    assert_close(state, final)


def test_reset_is_a_fresh_start():
    unrolled, (x, is_first) = Unrolled(rich_network()), rich_observations()
    is_first[:] = False
    without, final = unrolled(x, is_first, some_state(unrolled))
    is_first[5] = True
    outputs, reset_final = unrolled(x, is_first, some_state(unrolled))
    fresh, fresh_final = unrolled(part(x, slice(5, None)), is_first[5:] & False, unrolled.initial_state(ROWS))
    assert_close(part(outputs, slice(5, None)), fresh)
    assert_close(reset_final, fresh_final)
    assert_close(part(outputs, slice(0, 5)), part(without, slice(0, 5)))
    for x, y in zip(keras.tree.flatten(final), keras.tree.flatten(reset_final), strict=True):
        assert np.abs(x - y).max() > 1e-4  # without the reset, the past has an effect


def test_state_after_the_last_row_is_not_yet_reset():
    unrolled, (x, is_first) = Unrolled(simple_network()), simple_observations()
    is_first[:] = False
    is_first[-1] = True
    _, state = unrolled(x, is_first, some_state(unrolled))
    _, fresh = unrolled.step(x[-1], is_first[-1], unrolled.initial_state(ROWS))
    assert_close(state, fresh)
    assert all(np.abs(s).min() > 0 for s in keras.tree.flatten(state))


def test_rows_do_not_mix():
    unrolled, (x, is_first) = Unrolled(rich_network()), rich_observations()
    outputs, _ = tf.function(unrolled)(x, is_first, some_state(unrolled))
    single, _ = unrolled(part(x, np.s_[:, 1:2]), is_first[:, 1:2], part(some_state(unrolled), np.s_[1:2]))
    assert_close(part(outputs, np.s_[:, 1:2]), single)


def test_initial_state_is_zeros_for_every_memory_in_a_fixed_order():
    network = rich_network()
    shapes = keras.tree.map_structure(lambda x: tuple(x.shape), Unrolled(network).initial_state(ROWS))
    expected = [((ROWS, 7),), ((ROWS, 4), (ROWS, 4)), (((ROWS, 3),), ((ROWS, 5), (ROWS, 5)))]
    assert sorted(map(str, shapes)) == sorted(map(str, expected))
    assert isinstance(Unrolled(network).initial_state(2), tuple)
    assert all((x.numpy() == 0).all() for x in keras.tree.flatten(Unrolled(network).initial_state(ROWS)))


def test_loaded_network_understands_states_from_before(tmp_path):
    network = rich_network()
    network.save(tmp_path / "network.keras")
    loaded = Unrolled(keras.saving.load_model(tmp_path / "network.keras"))
    unrolled, (x, is_first) = Unrolled(network), rich_observations()
    assert_close(loaded(x, is_first, some_state(unrolled)), unrolled(x, is_first, some_state(unrolled)), atol=0)


def test_feed_forward_networks_have_no_state():
    network, (x, is_first) = feed_forward_network(), simple_observations()
    unrolled = Unrolled(network)
    outputs, state = unrolled(x, is_first, unrolled.initial_state(ROWS))
    assert state == unrolled.initial_state(ROWS) == ()
    assert_close(outputs, np.reshape(network(np.reshape(x, (-1, 4))), (STEPS, ROWS, 3)))
    assert unrolled.step(x[0], is_first[0], ())[1] == ()
    trained, _ = unrolled(x, is_first, (), training=True)
    assert np.abs(trained - outputs).max() > 0.1  # dropout is active
    assert np.abs(unrolled.step(x[0], is_first[0], (), training=True)[0] - outputs[0]).max() > 0.1


def operations(function, *args):
    """Types of the operations of the graph and of its functions, loops of all kinds being "While"."""
    graph = tf.function(function).get_concrete_function(*args).graph.as_graph_def()
    nodes = [*graph.node, *(node for inner in graph.library.function for node in inner.node_def)]
    return ["While" if "While" in node.op else node.op for node in nodes]


def test_memoryless_layers_run_once_and_only_memory_loops():
    unrolled, (x, is_first) = Unrolled(rich_network()), rich_observations()
    whole = operations(unrolled, x, is_first, some_state(unrolled))
    assert whole.count("Conv2D") == 1
    assert whole.count("While") == 4  # one per cell
    one = operations(unrolled, part(x, slice(0, 1)), is_first[:1], some_state(unrolled))
    assert one.count("While") == 0
    assert operations(unrolled.step, part(x, 0), is_first[0], some_state(unrolled)).count("While") == 0


# Gradients of memory under XLA in every run: test_stateful_rnn.py and tests/ops/test_recurrent.py.
@pytest.mark.parametrize("mode", ["eager", pytest.param("jit", marks=pytest.mark.long)])
def test_gradients_reach_weights_observations_and_state(mode):
    """Against a tape over single steps, which uses neither loops nor written gradients."""
    network, (x, is_first) = rich_network(), rich_observations()
    unrolled = Unrolled(network)

    def loss(outputs):
        return tf.add_n([tf.reduce_sum(tf.sin(y)) for y in keras.tree.flatten(outputs)])

    def whole(state):
        outputs, final = unrolled(x, is_first, state)
        return loss(outputs) + loss(final)

    def steps(state):
        total = 0.0
        for t in range(STEPS):
            outputs, state = unrolled.step(part(x, t), is_first[t], state)
            total += loss(outputs)
        return total + loss(state)

    def gradient(function, state):
        with tf.GradientTape() as tape:
            tape.watch(state)
            total = function(state)
        gradients = tape.gradient(total, (network.trainable_weights, state))
        return [tf.convert_to_tensor(g) for g in tf.nest.flatten(gradients)]

    state = some_state(unrolled)
    actual = MODES[mode](lambda state: gradient(whole, state))(state)
    assert_close(actual, gradient(steps, state), atol=1e-4)


def test_subclassed_networks():
    class Network(keras.Model):
        def __init__(self):
            super().__init__()
            self.memories = {n: StatefulRNN(keras.layers.GRUCell(n)) for n in (2, 3)}

        def build(self, input_shape):
            for memory in self.memories.values():
                memory.build(input_shape)

        def call(self, inputs):
            return [self.memories[3](inputs)]

    network, (x, is_first) = Network(), simple_observations()
    with pytest.raises(ValueError, match=r"`network` must be built.* Received: network=<Network"):
        Unrolled(network)
    network(x[0])
    unrolled = Unrolled(network)
    start = some_state(unrolled)
    (outputs,), state = unrolled(x, is_first, start)
    used = [s[0].shape[-1] for s in start].index(3)
    assert_close(state[used][0], outputs[-1])
    assert_close(state[1 - used], start[1 - used], atol=0)  # a `StatefulRNN` that was not called keeps its state


def test_data_pipelines_run_it():
    unrolled, (x, is_first) = Unrolled(simple_network()), simple_observations()
    run = tf.function(unrolled, jit_compile=True)
    dataset = tf.data.Dataset.range(2).map(lambda _: run(x, is_first, unrolled.initial_state(ROWS)))
    for element in dataset:
        assert_close(element, unrolled(x, is_first, unrolled.initial_state(ROWS)))


class CallsBack(keras.layers.Layer):
    """Calls a function in the middle of a network."""

    function = None

    def call(self, inputs):
        self.function(inputs)
        return inputs


def network_with_callback(function):
    inputs = keras.Input((4,))
    layer = CallsBack()
    layer.function = lambda x: None
    network = keras.Model(inputs, StatefulRNN(keras.layers.LSTMCell(3))(layer(inputs)))
    layer.function = function
    return network


def test_other_threads_see_plain_layers():
    plain, results = StatefulRNN(keras.layers.LSTMCell(3)), []
    plain.build((None, 4))
    alone = plain(np.ones((2, 4)))

    def elsewhere(_):
        thread = threading.Thread(target=lambda: results.append(plain(np.ones((2, 4)))))
        thread.start()
        thread.join()

    unrolled, (x, is_first) = Unrolled(network_with_callback(elsewhere)), simple_observations()
    unrolled(x, is_first, unrolled.initial_state(ROWS))
    assert_close(results, [alone])


def test_a_failure_leaves_no_trace():
    def fail(_):
        raise RuntimeError("stop here")

    network, (x, is_first) = network_with_callback(fail), simple_observations()
    unrolled, memory = Unrolled(network), network.layers[-1]
    alone = memory(x[0])
    with pytest.raises(RuntimeError, match="stop here"):
        unrolled(x, is_first, unrolled.initial_state(ROWS))
    assert_close(memory(x[0]), alone)
    with pytest.raises(RuntimeError, match="stop here"):  # not an error about a second call
        unrolled(x, is_first, unrolled.initial_state(ROWS))


def test_one_memory_called_twice():
    inputs, memory = keras.Input((4,)), StatefulRNN(keras.layers.GRUCell(4), name="memory")
    unrolled, (x, is_first) = Unrolled(keras.Model(inputs, memory(memory(inputs)))), simple_observations()
    with pytest.raises(ValueError, match=r"may occur only once in a network.*Received: layer 'memory' called twice"):
        unrolled(x, is_first, unrolled.initial_state(ROWS))


def test_shared_cells_have_a_state_for_each_layer():
    inputs, cell = keras.Input((4,)), keras.layers.GRUCell(4)
    unrolled = Unrolled(keras.Model(inputs, StatefulRNN(cell)(StatefulRNN(cell)(inputs))))
    x, is_first = simple_observations()
    first = Unrolled(keras.Model(inputs, StatefulRNN(cell)(inputs)))
    between, _ = first(x, is_first, first.initial_state(ROWS))
    expected, _ = first(between, is_first, first.initial_state(ROWS))
    assert_close(unrolled(x, is_first, unrolled.initial_state(ROWS))[0], expected)


def test_untracked_memory():
    hidden = StatefulRNN(keras.layers.LSTMCell(3), name="hidden")
    unrolled, (x, is_first) = Unrolled(network_with_callback(lambda x: hidden(x))), simple_observations()
    with pytest.raises(
        ValueError, match=r"`network` must track all of its `StatefulRNN` layers. Received: layer 'hidden'"
    ):
        unrolled(x, is_first, unrolled.initial_state(ROWS))


def test_errors():
    with pytest.raises(TypeError, match=r"`network` must be a keras.Model. Received: network=<Dense"):
        Unrolled(keras.layers.Dense(2))
    unrolled, (x, is_first) = Unrolled(simple_network()), simple_observations()
    state = unrolled.initial_state(ROWS)
    with pytest.raises(
        ValueError, match=r"`is_first` must have a static shape \[T, B\]. Received: is_first.shape=\(3,\)"
    ):
        unrolled(x, is_first[0], state)
    dynamic = tf.function(unrolled)
    with pytest.raises(ValueError, match=r"`is_first` must have a static shape \[T, B\]. .*=\(None, 3\)"):
        dynamic.get_concrete_function(tf.TensorSpec((None, ROWS, 4)), tf.TensorSpec((None, ROWS), tf.bool), state)
    with pytest.raises(
        ValueError, match=r"`observations` must start with the shape of `is_first`, \(8, 3\). .*\(7, 3, 4\)"
    ):
        unrolled(x[1:], is_first, state)
    with pytest.raises(
        ValueError, match=r"`state` must be a tuple with one entry per StatefulRNN of the network, 1. .*=\(\)"
    ):
        unrolled(x, is_first, ())
    with pytest.raises(ValueError, match=r"`state` must be a tuple with one entry"):
        unrolled.step(x[0], is_first[0], state[0])
