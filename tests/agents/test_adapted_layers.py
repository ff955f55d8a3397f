"""Layers that were adapted to data act in every copy of a network as they do in it."""

import keras
import numpy as np
import pytest

import keras_rl_prob as krp
from keras_rl_prob.distributed.collector import Order
from keras_rl_prob.drivers import Driver

DATA = np.random.default_rng(0).normal(50.0, 10.0, (200, 3)).astype(np.float32)
SPACES = krp.envs.spaces_of("tf/Pendulum-v1")


def adapted():
    """A layer with the mean and variance of the data."""
    layer = keras.layers.Normalization()
    layer.adapt(DATA)
    return layer


def q_network():
    x = keras.Input((4,))
    layer = keras.layers.Normalization()
    layer.adapt(np.pad(DATA, ((0, 0), (0, 1))))
    return keras.Model(x, {"action": krp.layers.QValues((2,))(keras.layers.Dense(2)(layer(x)))})


def policy(hard_bounds):
    x = keras.Input((3,))
    head = krp.layers.DenseNormal((1,), [[-2.0, 2.0]], hard_bounds=hard_bounds, state_dependent_scale=hard_bounds)
    return keras.Model(x, {"action": head(keras.layers.Dense(4)(adapted()(x)))})


def critic():
    x = {"observation": keras.Input((3,)), "action": keras.Input((1,))}
    joined = keras.layers.Concatenate()([adapted()(x["observation"]), x["action"]])
    return keras.Model(x, keras.layers.Dense(2)(joined))


def actor_critic():
    x = keras.Input((4,))
    layer = keras.layers.Normalization()
    layer.adapt(np.pad(DATA, ((0, 0), (0, 1))))
    h = keras.layers.Dense(4)(layer(x))
    outputs = {"action": krp.layers.DenseCategorical((2,), kernel_initializer="glorot_uniform")(h)}
    return keras.Model(x, outputs | {"q": keras.layers.Dense(2)(h)})


AGENTS = {
    "DQN": (lambda: krp.DQN(q_network()), "tf/CartPole-v1", [("network", "target_network")]),
    "SAC": (lambda: krp.SAC(policy(True), critic()), "tf/Pendulum-v1", [("critic", "target_critic")]),
    "TD3": (
        lambda: krp.TD3(policy(False), critic()),
        "tf/Pendulum-v1",
        [("critic", "target_critic"), ("network", "target_network")],
    ),
    "ACER": (lambda: krp.ACER(actor_critic()), "tf/CartPole-v1", [("network", "average_network")]),
}


def outputs(network):
    """What a network makes of the data, as a list of arrays."""
    seen = keras.tree.map_structure(lambda x: np.pad(DATA[:7], ((0, 0), (0, 1)))[:, : x.shape[-1]], network.input)
    return [np.asarray(x) for x in keras.tree.flatten(network(seen))]


def same(one, other):
    return all(np.allclose(x, y, rtol=1e-5, atol=1e-6) for x, y in zip(outputs(one), outputs(other), strict=True))


@pytest.mark.parametrize("name", AGENTS)
def test_target_networks_are_those_of_the_network(name):
    make, env, pairs = AGENTS[name]
    agent = make()
    agent.compile(run_eagerly=True)
    agent.build(env)
    for network, target in pairs:
        assert same(getattr(agent, network), getattr(agent, target))
    agent.begin_training()
    for network, target in pairs:
        assert same(getattr(agent, network), getattr(agent, target))


@pytest.mark.parametrize("name", AGENTS)
def test_copies_of_agents_in_other_processes_act_alike(name):
    make, env, pairs = AGENTS[name]
    agent = make()
    agent.build(env)
    copied = Order.of(agent, Driver, {}).make_agent()
    for network in {name for pair in pairs for name in pair}:
        assert same(getattr(agent, network), getattr(copied, network))


def test_weights_that_are_set_or_copied_act_alike():
    agent = krp.DQN(q_network())
    agent.build("tf/CartPole-v1")
    other = krp.DQN.from_config(agent.get_config())
    other.build("tf/CartPole-v1")
    other.set_weights(agent.get_weights())
    assert same(agent.network, other.network)
    classifier = q_network()
    network = keras.models.clone_model(classifier)
    krp.copy_weights(classifier, network)
    assert same(classifier, network)
