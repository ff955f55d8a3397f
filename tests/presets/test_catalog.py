"""Presets: what there is, and that each is a configuration of an agent for its environment."""

import ast
import json
import pathlib

import gymnasium
import keras
import pytest

import keras_rl_prob as krp
from keras_rl_prob import presets
from keras_rl_prob.presets import settings


def test_names_are_sorted_and_cover_the_native_classics():
    assert presets.names() == sorted(presets.names())
    assert {"cartpole", "cartpole_novel", "pendulum", "recall", "mountaincar", "acrobot"} <= set(presets.names())


def test_settings_are_literals():
    tree = ast.parse(pathlib.Path(settings.__file__).read_text(encoding="utf-8"))
    allowed = (ast.Module, ast.Expr, ast.Assign, ast.Name, ast.Store, ast.Load, ast.Dict, ast.Constant)
    assert all(isinstance(node, allowed) for node in ast.walk(tree))


def test_get_gives_a_copy_of_its_own():
    first = presets.get("cartpole")
    first["optimizer"]["learning_rate"]["decay_steps"] = 7
    first["env"]["num_envs"] = 1
    again = presets.get("cartpole")
    assert again["optimizer"]["learning_rate"]["decay_steps"] is None
    assert again["env"]["num_envs"] == 32
    assert presets.get("acrobot")["optimizer"]["learning_rate"]["decay_steps"] is None  # the same literal there


def test_unknown_preset_lists_all_and_names_the_nearest():
    with pytest.raises(ValueError, match=r"'acrobot'.*'recall'.*Did you mean 'cartpole' or.*Received: 'cartpol'"):
        presets.get("cartpol")


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_builds_an_agent_for_its_environment(name):
    config = presets.get(name)
    assert config["name"] == name
    assert json.loads(json.dumps(config)) == config
    if config["env"]["id"] not in krp.envs.native_ids():
        pytest.importorskip("Box2D", reason="LunarLander is an extra")
        assert config["env"]["id"] in gymnasium.registry
    agent = presets.build(config)
    agent.build(presets.make_env(config))
    assert agent.compiled
    assert type(agent).__name__ == config["agent"]["class"]
    wanted = {"A2C": keras.optimizers.RMSprop, "LinearQ": keras.optimizers.SGD}
    assert isinstance(agent.optimizer, wanted.get(config["agent"]["class"], keras.optimizers.Adam))
    needs_memory = "NoVel" in config["env"]["id"] or "Recall" in config["env"]["id"]
    assert bool(agent.initial_state(1)) == needs_memory
    for key, value in config["agent"].items():
        if key != "class" and not isinstance(value, dict):
            assert getattr(agent, key) == value
