"""`QValues`: a head without weights, whose parameters are the action values themselves."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rl_prob.layers import QValues

VALUES = np.array([[1.0, -2.0, 5.0, 0.5], [-7.0, -3.0, -9.0, -4.0], [0.0, 1e5, 2e5, -1e5]], "float32")
MASK = np.array([[1, 1, 0, 1], [1, 0, 1, 0], [1, 1, 1, 1]], bool)


@pytest.mark.parametrize("leading", [(3,), (1, 3), (3, 1)], ids=str)
def test_values_pass_as_they_came(leading):
    head = QValues((4,))
    values = VALUES.reshape(*leading, 4)
    np.testing.assert_array_equal(head(values), values)
    assert head.weights == []
    assert (head.action_kind, head.action_shape, head.mask_shape) == ("discrete", (), (4,))
    assert head.compute_output_shape((*leading, 4)) == (*leading, 4)


@pytest.mark.parametrize("dtype", ["bool", "int32", "float32"])
def test_forbidden_actions(dtype):
    head = QValues(4)
    values = head([VALUES, MASK.astype(dtype)]).numpy()
    np.testing.assert_array_equal(values[MASK], VALUES[MASK])
    np.testing.assert_array_equal(values[~MASK], [-1e9] * 3)
    np.testing.assert_array_equal(head.legal(values), MASK)
    np.testing.assert_array_equal(QValues.legal(VALUES), np.ones((3, 4), bool))
    np.testing.assert_array_equal(head.distribution(values).mode(), [0, 0, 2])  # 5 and -3 would have been the best ones


def test_a_mask_that_forbids_everything_forbids_nothing():
    """Otherwise the value of a final observation, from which a truncated episode bootstraps, would be -1e9."""
    mask = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    values = QValues(4)([VALUES, mask]).numpy()
    np.testing.assert_array_equal(values, [VALUES[0], [-7.0, -1e9, -1e9, -1e9], VALUES[2]])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_distribution_is_the_softmax_and_its_mode_the_greedy_action(jit_compile):
    head = QValues((4,))

    @tf.function(jit_compile=jit_compile)
    def results(values):
        distribution = head.distribution(head(values))
        return distribution.mode(), tf.stack([distribution.prob([action] * 3) for action in range(4)], -1)

    mode, probabilities = results(tf.constant(VALUES))
    assert mode.dtype == tf.int32
    np.testing.assert_array_equal(mode, [2, 1, 2])
    e = np.exp(VALUES.astype("float64") - VALUES.max(1, keepdims=True))
    np.testing.assert_allclose(probabilities, e / e.sum(1, keepdims=True), atol=1e-6)


def test_gradient_passes_to_allowed_values_only():
    values = tf.constant(VALUES)
    with tf.GradientTape() as tape:
        tape.watch(values)
        loss = tf.reduce_sum(QValues(4)([values, MASK]) * tf.range(1.0, 5.0))
    np.testing.assert_array_equal(tape.gradient(loss, values), MASK * [1.0, 2.0, 3.0, 4.0])


def test_values_are_float32_under_mixed_precision():
    head = QValues((4,), dtype="mixed_float16")
    assert head(VALUES[:2]).dtype == tf.float32
    assert keras.backend.standardize_dtype(head(keras.Input((4,))).dtype) == "float32"
    assert head([VALUES[:2], MASK[:2]])[0, 2] == -1e9


@pytest.mark.parametrize("masked", [False, True])
def test_a_functional_model_can_be_saved(tmp_path, masked):
    x, mask = keras.Input((4,)), keras.Input((4,), dtype="bool")
    head = QValues((4,), name="action")
    outputs = head([2.0 * x, mask] if masked else 2.0 * x)
    assert outputs.shape == (None, 4)
    model = keras.Model([x, mask], outputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = np.where(MASK, 2 * VALUES, -1e9) if masked else 2 * VALUES
    np.testing.assert_array_equal(loaded([VALUES, MASK]), expected)
    config = loaded.get_layer("action").get_config()
    assert config == head.get_config() == QValues.from_config(config).get_config()
    assert set(config) == {"name", "trainable", "dtype", "output_shape"}


@pytest.mark.parametrize("shape", [(2, 3), (1, 2, 3)], ids=str)
def test_one_choice_only(shape):
    with pytest.raises(ValueError, match=r"`output_shape` must be `\(n,\)` for n actions\. Received: output_shape=\("):
        QValues(shape)


@pytest.mark.parametrize("inputs", [np.zeros((2, 3)), [np.zeros((2, 4)), np.ones((2, 3))]], ids=["values", "mask"])
def test_wrong_number_of_values(inputs):
    with pytest.raises(ValueError, match=r"`inputs` must have 4 values\. Received: inputs.shape=.*\(2, 3\)"):
        QValues((4,))(inputs)
