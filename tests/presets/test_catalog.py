"""Presets: their names, and that each is a valid configuration of an agent for its environment."""

import ast
import dataclasses
import json
import pathlib

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob import presets
from keras_rl_prob.catalog.presets import FILES, PRESETS


def test_names_are_sorted_and_cover_the_native_classics():
    assert presets.names() == sorted(presets.names())
    assert {"cartpole", "cartpole_novel", "pendulum", "recall", "mountaincar", "acrobot"} <= set(presets.names())


@pytest.mark.parametrize("module", FILES)
def test_settings_are_literals(module):
    tree = ast.parse(pathlib.Path(module.__file__).read_text(encoding="utf-8"))
    allowed = (ast.Module, ast.Expr, ast.Assign, ast.Name, ast.Store, ast.Load, ast.Dict, ast.List, ast.Constant)
    assert all(isinstance(node, allowed) for node in ast.walk(tree))


def test_no_file_hides_a_preset_of_another():
    assert sum(len(module.SETTINGS) for module in FILES) == len(presets.names())


def test_get_gives_a_copy_of_its_own():
    first = presets.get("cartpole")
    first["optimizer"]["learning_rate"]["decay_steps"] = 7
    first["env"]["num_envs"] = 1
    again = presets.get("cartpole")
    assert again["optimizer"]["learning_rate"]["decay_steps"] is None
    assert again["env"]["num_envs"] == 32
    assert presets.get("acrobot")["optimizer"]["learning_rate"]["decay_steps"] is None  # the same literal there


def test_the_catalog_itself_is_read_only():
    with pytest.raises(TypeError, match="does not support item assignment"):
        PRESETS["cartpole"] = {}
    with pytest.raises(TypeError, match="does not support item assignment"):
        PRESETS["cartpole"]["env"]["num_envs"] = 1
    penalty = krp.KLPenalty()
    with pytest.raises(dataclasses.FrozenInstanceError):
        penalty.target = 0.5
    assert json.loads(json.dumps(presets.get("cartpole"))) == presets.get("cartpole")  # plain dicts


def test_unknown_preset_lists_all_and_names_the_nearest():
    with pytest.raises(ValueError, match=r"Did you mean 'cartpole' or.*'acrobot'.*'recall'.*Received: name='cartpol'"):
        presets.get("cartpol")


def make_env(config, **arguments):
    """The environment of a configuration; skips the test if it is not installed."""
    try:
        env = presets.make_env(config, **arguments)
        krp.envs.spaces_of(env)
    except ImportError as error:
        pytest.skip(str(error))
    return env


def shortened(name):
    """A preset with two environments, short rollouts, short episodes and little memory."""
    config = presets.get(name)
    agent, env = config["agent"], config["env"]
    env["num_envs"] = 2
    if agent["class"] == "Reinforce":
        agent["max_episode_steps"] = 20
    elif agent["class"] not in ("A2C", "A3C", "LinearQ"):
        agent["rollout_steps"] = 8
    agent |= {key: value for key, value in {"minibatches": 1, "update_epochs": 1}.items() if "PPO" in agent["class"]}
    if agent.get("sequence_length"):
        agent["sequence_length"] = 8
    if "DQN" in agent["class"]:
        agent |= {"updates": 2, "batch_size": 4, "capacity": 400, "learning_starts": 50}
    if agent["class"] in ("SAC", "TD3"):
        agent |= {"updates": 2, "replay": {"class": "ReplaySettings", "batch_size": 4, "learning_starts": 50}}
    if agent["class"] == "RecurrentSAC":
        replay = {"class": "SequenceReplaySettings", "sequence_length": 4, "period": 4, "burn_in": 2}
        agent |= {"updates": 2, "replay": replay | {"batch_size": 4, "learning_starts": 50}}
    if agent["class"] == "ACER":
        replay = {"class": "RolloutReplaySettings", "capacity": 400, "ratio": 1, "learning_starts": 16}
        agent["replay"] = {**agent.get("replay", {}), **replay}
    if agent["class"] == "RecurrentDQN":
        agent |= {"sequence_length": 4, "period": 4, "burn_in": 4, "capacity": 2000}
    config["fit"] = {"epochs": 2, "validation_episodes": 2, "validation_freq": 2}
    config["compile"] = {"run_eagerly": True}
    short = {"ALE/": "max_num_frames_per_episode", "Vizdoom": "episode_timeout", "tf/": None}
    limit = next((key for start, key in short.items() if env["id"].startswith(start)), "max_episode_steps")
    if limit:
        env["kwargs"] = env.get("kwargs", {}) | {limit: 60}
    return config


# One preset for each class of agent and kind of environment; all of them are built and stepped below.
TRAINED = [
    "ant_bullet", "bipedal_walker", "bipedal_walker_sac", "breakout_acer", "breakout_ppo", "cartpole", "cartpole_a2c",
    "cartpole_a3c", "cartpole_acer", "cartpole_c51", "cartpole_dqn", "cartpole_impala", "cartpole_novel",
    "cartpole_novel_dqn", "cartpole_qrdqn", "cartpole_reinforce", "cheetah", "cheetah_sac", "doom_basic", "doom_basic_dqn",
    "doom_deathmatch", "football_run_to_score", "football_run_to_score_dqn", "lunarlander_acer", "lunarlander_dqn",
    "mountaincar_linear_q", "pendulum_novel_sac", "pendulum_sac", "pendulum_td3", "pong", "pong_a2c", "pong_dqn",
    "pong_impala", "pong_reinforce",
]  # fmt: skip


def kind(name):
    """The class of a preset's agent, and the library that its environment comes from."""
    config = presets.get(name)
    id, known = config["env"]["id"], gymnasium.registry.get(config["env"]["id"])
    if known is None or not str(known.entry_point).startswith("gymnasium.envs."):
        return config["agent"]["class"], id.split("/")[0][:7]  # ALE, krp, tf, Vizdoom, AntBull
    return config["agent"]["class"], known.entry_point.split(".")[2]  # gymnasium.envs.box2d, gymnasium.envs.mujoco


def test_one_of_each_class_and_kind_of_environment_is_trained():
    assert {kind(name) for name in TRAINED} == {kind(name) for name in presets.names()}
    assert len({kind(name) for name in presets.names()}) == 33


# Each class once, and each kind of environment once.
SHORT = {
    "ant_bullet", "bipedal_walker", "breakout_acer", "cartpole_a2c", "cartpole_a3c", "cartpole_c51", "cartpole_impala",
    "cartpole_novel_dqn", "cartpole_qrdqn", "cartpole_reinforce", "cheetah", "doom_deathmatch", "football_run_to_score",
    "mountaincar_linear_q", "pendulum_novel_sac", "pendulum_sac", "pendulum_td3", "pong_dqn",
}  # fmt: skip


def test_every_class_and_every_kind_of_environment_is_trained_in_every_run():
    for part in (0, 1):
        assert {kind(name)[part] for name in SHORT} == {kind(name)[part] for name in TRAINED}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in SHORT else pytest.mark.long) for name in TRAINED]
)
@pytest.mark.usefixtures("plain_matrices")
def test_a_preset_trains_evaluates_and_is_recorded(name, tmp_path):
    config = shortened(name)
    env, validation = make_env(config), make_env(config, validation=True)
    agent = presets.build(config)
    agent.build(env)
    updates = agent.updates_per_rollout(2)
    history = agent.fit(
        env,
        epochs=2,
        steps_per_epoch=updates,
        validation_data=validation,
        validation_episodes=2,
        validation_freq=2,
        num_envs=2,
        verbose=0,
    ).history
    losses = [values for key, values in history.items() if key in ("loss", "critic_loss", "actor_loss")]
    assert losses
    assert np.isfinite(losses).all()
    assert np.isfinite(history["val_return"][-1])
    assert history["env_steps"][1] > history["env_steps"][0] > 0
    drawn = config["env"]["id"] if config["env"]["id"].startswith("tf/") else validation
    try:
        played = krp.callbacks.record_episode(agent, drawn, tmp_path / "episode.gif", max_frames=5)
    except (ImportError, AttributeError) as error:  # MuJoCo without a rendering library
        pytest.skip(f"trained, but not drawn: {error}")
    assert played["length"] == 4
    assert (tmp_path / "episode.gif").stat().st_size > 500


@pytest.mark.parametrize("name", presets.names())
@pytest.mark.usefixtures("plain_matrices")
def test_every_preset_builds_an_agent_that_steps_its_environment(name):
    config = presets.get(name)
    assert config["name"] == name
    assert json.loads(json.dumps(config)) == config
    count = 1 if "Vizdoom" in config["env"]["id"] else 2  # a game takes a second to start
    env = make_env(config, num_envs=count)
    agent = presets.build(config)
    with krp.envs.opened(env, count) as made:
        agent.build(made)
        state, step = made.reset(tf.constant([0, 0]))
        memory = agent.initial_state(count)
        for t in range(3):
            action, record, memory = agent.act(step.observation, step.is_first, memory, tf.constant([0, t]))
            taken = [np.asarray(x) for x in keras.tree.flatten(action)]
            assert [x.shape for x in taken] == [(count, *spec.shape) for spec in leaf_specs(made.action_space)]
            for leaf, x in zip(krp.spaces.leaves(made.action_space), taken, strict=True):
                if hasattr(leaf, "low"):
                    assert ((leaf.low <= x) & (x <= leaf.high)).all()
            state, step = made.step(state, action)
        seen = keras.tree.flatten(step.observation)
        assert [x.shape for x in seen] == [(count, *spec.shape) for spec in leaf_specs(made.observation_space)]
        assert step.reward.shape == step.is_last.shape == (count,)
        assert all(np.isfinite(np.asarray(x, np.float32)).all() for x in (*seen, *keras.tree.flatten(record)))
    assert agent.compiled
    assert type(agent).__name__ == config["agent"]["class"]
    default = {"A2C": "RMSprop", "A3C": "RMSprop", "LinearQ": "SGD"}.get(config["agent"]["class"], "Adam")
    assert type(agent.optimizer).__name__ == config.get("optimizer", {}).get("class", default)
    has_memory = bool(agent.initial_state(1))
    cell = (config.get("network") or {}).get("cell")
    assert has_memory == (config["agent"]["class"].startswith("Recurrent") or cell is not None)
    assert has_memory or not ("NoVel" in config["env"]["id"] or "Recall" in config["env"]["id"])
    for key, value in config["agent"].items():
        if key != "class" and not isinstance(value, dict):
            assert getattr(agent, key) == value


def leaf_specs(space):
    """Shapes and dtypes of the parts of a space."""
    return keras.tree.flatten(krp.spaces.tensor_specs(space))
