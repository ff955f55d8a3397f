"""`Dueling`: equation 9 of the paper, identifiability of value and advantages, and errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rl_prob.layers import Dueling

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("leading", [(6,), (2, 6), (2, 3, 6)], ids=str)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_equation_by_a_loop(leading, jit_compile):
    value, advantages = RNG.normal(size=(*leading, 1)), RNG.normal(size=(*leading, 4))
    layer = Dueling()
    inputs = [tf.constant(value, tf.float32), tf.constant(advantages, tf.float32)]
    values = tf.function(layer, jit_compile=jit_compile)(inputs)
    expected = np.zeros((*leading, 4))
    for i in np.ndindex(leading):
        for action in range(4):
            expected[(*i, action)] = value[(*i, 0)] + advantages[(*i, action)] - sum(advantages[i]) / 4
    np.testing.assert_allclose(values, expected, atol=1e-6)
    assert layer.compute_output_shape([(*leading, 1), (*leading, 4)]) == (*leading, 4)


def test_value_and_advantages_are_identifiable():
    value, advantages = RNG.normal(size=(5, 1)), RNG.normal(size=(5, 3))
    values = Dueling()([tf.constant(value), tf.constant(advantages)]).numpy()
    np.testing.assert_allclose(values.mean(-1, keepdims=True), value, atol=1e-6)
    np.testing.assert_allclose(np.diff(values), np.diff(advantages), atol=1e-6)
    shifted = Dueling()([tf.constant(value), tf.constant(advantages + RNG.normal(size=(5, 1)))])
    np.testing.assert_allclose(shifted, values, atol=1e-6)
    higher = Dueling()([tf.constant(value + 2), tf.constant(advantages)])
    np.testing.assert_allclose(higher, values + 2, atol=1e-6)


def test_gradient_of_one_action_value():
    """The derivative of `Q(a)` by `V` is 1, by `A(a)` 1 - 1/n, and by the other advantages -1/n."""
    value, advantages = tf.constant([[2.0]]), tf.constant([[1.0, 3.0, 5.0, 7.0]])
    with tf.GradientTape() as tape:
        tape.watch([value, advantages])
        loss = Dueling()([value, advantages])[0, 2]
    of_value, of_advantages = tape.gradient(loss, [value, advantages])
    np.testing.assert_allclose(of_value, [[1]])
    np.testing.assert_allclose(of_advantages, [[-0.25, -0.25, 0.75, -0.25]])


@pytest.mark.parametrize("kind", ["bool", "int32", "float32"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_with_a_mask_the_mean_is_over_what_is_legal(jit_compile, kind):
    """Row by row: one, two, three and all legal, and none, which counts as all."""
    value, advantages = RNG.normal(size=(5, 1)), RNG.normal(size=(5, 4))
    mask = np.array([[0, 0, 1, 0], [1, 0, 0, 1], [1, 1, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0]])
    inputs = [tf.constant(value, tf.float32), tf.constant(advantages, tf.float32), tf.constant(mask.astype(kind))]
    values = tf.function(Dueling(), jit_compile=jit_compile)(inputs)
    for row, legal in enumerate([[2], [0, 3], [0, 1, 3], [0, 1, 2, 3], [0, 1, 2, 3]]):
        mean = sum(advantages[row, action] for action in legal) / len(legal)
        np.testing.assert_allclose(values[row], value[row] + advantages[row] - mean, atol=1e-6)


def test_what_a_mask_forbids_has_no_part_in_the_other_values():
    value, advantages, mask = tf.constant([[2.0]]), tf.constant([[1.0, 3.0, 5.0, 7.0]]), tf.constant([[1, 1, 0, 1]])
    with tf.GradientTape() as tape:
        tape.watch(advantages)
        loss = Dueling()([value, advantages, mask])[0, 1]
    np.testing.assert_allclose(tape.gradient(loss, advantages), [[-1 / 3, 2 / 3, 0, -1 / 3]], atol=1e-6)
    extreme = Dueling()([value, tf.constant([[1.0, 3.0, 1e9, 7.0]]), mask])
    np.testing.assert_allclose(tf.gather(extreme, [0, 1, 3], axis=1), [[2 - 8 / 3, 2 - 2 / 3, 2 + 10 / 3]], rtol=1e-5)


def test_a_masked_model_is_float16_where_that_is_wanted():
    values = Dueling(dtype="mixed_float16")([tf.ones((2, 1)), tf.ones((2, 3)), tf.ones((2, 3), tf.int32)])
    assert values.dtype == tf.float16


def test_a_functional_model_can_be_saved(tmp_path):
    x = keras.Input((4,))
    values = Dueling(name="q")([keras.layers.Dense(1)(x), keras.layers.Dense(3)(x)])
    assert values.shape == (None, 3)
    model = keras.Model(x, values)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    inputs = RNG.normal(size=(7, 4)).astype("float32")
    np.testing.assert_array_equal(loaded(inputs), model(inputs))
    assert loaded.get_layer("q").get_config() == model.get_layer("q").get_config()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(5, 3), (5, 1)], r"shapes \[\(5, 3\), \(5, 1\)\]"),
        ([(5, 2), (5, 3)], r"shapes \[\(5, 2\), \(5, 3\)\]"),
        ([(5, 1), (5, 3), (5, 2)], r"shapes \[\(5, 1\), \(5, 3\), \(5, 2\)\]"),
        ([(5, 1), (5, 3), (5, 3), (5, 3)], r"shapes \[\(5, 1\), \(5, 3\), \(5, 3\), \(5, 3\)\]"),
        ([(5, 1)], r"shapes \[\(5, 1\)\]"),
    ],
    ids=str,
)
def test_wrong_shapes(shapes, message):
    start = (
        r"`inputs` must be `\[value, advantages\]`, of shapes `\[\.\.\., 1\]` and `\[\.\.\., actions\]`, and perhaps a mask "
        r"like the latter\. Received: "
    )
    with pytest.raises(ValueError, match=start + message):
        Dueling()([tf.zeros(shape) for shape in shapes])


@pytest.mark.parametrize("shape", [(5, 3), (1, 2)], ids=str)
def test_one_tensor_is_no_pair(shape):
    with pytest.raises(ValueError, match=r"`inputs` must be `\[value, advantages\]`.* Received: shapes"):
        Dueling()(tf.zeros(shape))
