"""Configurations of earlier versions."""

import pytest

import keras_rl_prob as krp
from keras_rl_prob import presets
from keras_rl_prob.layers import StatefulRNN

ENV = {"env": {"id": "tf/CartPole-v1"}}
RECURRENT = {"agent": {"class": "RecurrentPPO"}}
BUILDER = {"network": {"builder": "recurrent", "cell": "gru", "units": 5}}


def memories(config):
    """The number of recurrent layers of the agent of a configuration."""
    agent = presets.build(config)
    agent.build("tf/CartPole-v1")
    return sum(isinstance(layer, StatefulRNN) for layer in agent.network.layers)


@pytest.mark.parametrize("config", [RECURRENT, RECURRENT | BUILDER, {"agent": {"class": "A2C"}} | BUILDER])
def test_policy_and_value_share_their_layers_in_runs_of_version_0_1(config):
    config = ENV | config
    assert memories(config) == memories(config | {"version": krp.__version__}) == 2
    assert memories(config | {"version": "0.1.0"}) == 1
    completed = presets.complete(config | {"version": "0.1.0"})
    assert completed["network"]["shared"] is True
    assert completed["network"]["units"] == (5 if "network" in config else 64)


def test_other_networks_of_version_0_1_stay():
    config = ENV | {"agent": {"class": "PPO"}, "version": "0.1.0"}
    assert presets.complete(config)["network"] is None
    builder = {"builder": "actor_critic", "cell": "gru"}
    assert presets.complete(config | {"network": builder})["network"]["shared"] is False


def test_a_network_of_a_configuration_gets_the_previous_action_and_reward():
    agent = {"class": "RecurrentPPO", "previous_action_and_reward": True}
    built = presets.build(ENV | BUILDER | {"agent": agent})
    built.build("tf/CartPole-v1")
    assert set(built.network.input) == {"observation", "previous_action", "previous_reward"}
