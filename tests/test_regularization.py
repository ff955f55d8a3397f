"""`krp.networks.regularize`: the losses of kernels by name, saved with the network and added to an agent's loss."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp


def squares(network, *names):
    """Sum of the squares of all kernels of the layers with these names."""
    return sum(
        float(np.sum(np.square(weight.numpy().astype(float))))
        for layer in network.layers
        for weight in layer.weights
        if layer.name in names and "bias" not in weight.name
    )


def test_a_kernel_of_ones():
    network = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(3, kernel_initializer="ones", bias_initializer="ones")]
    )
    krp.networks.regularize(network, 0.1)
    assert float(sum(network.losses)) == pytest.approx(0.6)  # 2 x 3 ones; biases are left alone
    krp.networks.regularize(network, keras.regularizers.L1(0.5))
    assert float(sum(network.losses)) == pytest.approx(3.0)  # in place of the first


def test_coefficients_by_layer_survive_a_file_and_train(tmp_path):
    env = "tf/CartPoleNoVel-v1"
    network = krp.networks.recurrent(env, "gru", 3)
    names = [layer.name for layer in network.layers if layer.weights]
    head = next(layer.name for layer in network.layers if isinstance(layer, krp.layers.DenseCategorical))
    memory = next(layer for layer in network.layers if isinstance(layer, krp.layers.StatefulRNN))
    krp.networks.regularize(network, {head: 0.1, memory.cell.name: 0.01, "dense*": 0.001})
    dense = [name for name in names if name.startswith("dense") and name != head]
    assert len(dense) == 5
    expected = 0.1 * squares(network, head) + 0.01 * squares(network, memory.name) + 0.001 * squares(network, *dense)
    assert float(sum(network.losses)) == pytest.approx(expected, rel=1e-5)
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    assert float(sum(loaded.losses)) == pytest.approx(expected, rel=1e-5)

    agent = krp.RecurrentPPO(network)
    agent.compile(keras.optimizers.SGD(0.1))
    agent.build(env)
    part = agent.parts()[0]
    assert float(agent.regularized(part, tf.constant(1.0))) == pytest.approx(1.0 + expected, rel=1e-5)


@pytest.mark.parametrize(
    ("coefficients", "message"),
    [
        (-1.0, "`coefficients` must be a number of at least 0"),
        ({"absent": 0.1}, r"`coefficients` must name layers that have kernels, of \['dense.*Received: \['absent'\]"),
    ],
    ids=str,
)
def test_wrong_coefficients(coefficients, message):
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match=message):
        krp.networks.regularize(network, coefficients)
    assert not network.losses
