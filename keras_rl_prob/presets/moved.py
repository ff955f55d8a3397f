"""Converts configurations of earlier versions, and abbreviated ones, to the current form."""

import copy
from collections.abc import Mapping
from typing import Any

import keras


def name_of(kind: type) -> str:
    """The name of a class in configurations: its name in this library, or else its registered Keras name, `package>Name`."""
    return keras.saving.get_registered_name(kind).removeprefix("keras_rl_prob>")


def present_form(config: Any, agent_classes: Mapping[str, Any]) -> Any:
    """A copy of a configuration in which arguments that belong together are one object.

    Arguments of the agent that have moved into settings may be in their old place, and settings may have no `class`. Runs of
    version 0.1 keep their network: then policy and value of `krp.networks.recurrent` shared their layers.

    Args:
        config: A configuration; an invalid one is returned unchanged.
        agent_classes: Dict from the names of agents to their classes.

    Example:
    >>> from keras_rl_prob.agents import PPO
    >>> present_form({"agent": {"class": "PPO", "sequence_length": 16}}, {"PPO": PPO})["agent"]["minibatches"]
    {'class': 'Minibatches', 'sequence_length': 16}
    """
    entries = config.get("agent") if isinstance(config, dict) else None
    made = entries.get("class") if isinstance(entries, dict) else None
    if not isinstance(made, str) or made not in agent_classes:
        return config
    config = copy.deepcopy(config)
    if str(config.get("version", "")).startswith("0.1."):
        _share_layers(config)
    agent = config["agent"]
    for argument, kind in agent_classes[made].settings_classes.items():
        fields = kind.moved()
        moved = {name: agent.pop(name) for name in fields if name in agent}
        given = agent.get(argument, {})
        if not isinstance(given, dict):
            if all(fields[name] == value for name, value in moved.items()):
                continue  # as it is without
            given = {kind.plain: given}
        if given or moved:
            agent[argument] = {"class": name_of(kind)} | given | moved
    return config


def _share_layers(config):
    """Describes the network of version 0.1, where `krp.networks.recurrent` had no `shared`."""
    network = config.get("network")
    if network is None and config["agent"]["class"] == "RecurrentPPO":
        network = config["network"] = {"builder": "recurrent"}
    if isinstance(network, dict) and network.get("builder") == "recurrent":
        network.setdefault("shared", True)
