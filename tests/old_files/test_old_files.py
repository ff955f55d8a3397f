"""Files of earlier versions, written by `write_files.py`, can be loaded, act as before, and can be trained further."""

import json
import pathlib
import shutil

import gymnasium
import keras
import numpy as np
import pytest
import write_files

import keras_rl_prob as krp
from keras_rl_prob.cli import main

VERSIONS = [path for path in sorted(pathlib.Path(__file__).parent.iterdir()) if (path / "files.json").is_file()]
TOLD = {(path, name): told for path in VERSIONS for name, told in json.loads((path / "files.json").read_text()).items()}
LIKE_ANOTHER = {
    "ppo_pendulum",
    "ppo_hybrid",
    "recurrent_ppo_stacked",
    "recurrent_ppo_dict",
    "dqn",
}  # except their layers
WHOLE = [path for path in VERSIONS if (path / "run").is_dir()]
every_version = pytest.mark.parametrize("folder", WHOLE, ids=lambda folder: folder.name)


def test_there_is_a_file_of_every_kind():
    kinds = {
        "PPO",
        "RecurrentPPO",
        "A2C",
        "Reinforce",
        "DQN",
        "RecurrentDQN",
        "LinearQ",
        "RandomAgent",
        "IMPALA",
        "ACER",
        "A3C",
        "QRDQN",
        "C51",
        "SAC",
        "TD3",
        "RecurrentSAC",
        "RecurrentTD3",
    }
    assert kinds <= {told["class"] for told in TOLD.values()}
    files = [path for folder in VERSIONS for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 3e6 * len(VERSIONS)


@pytest.mark.parametrize(("folder", "name"), TOLD, ids=lambda part: getattr(part, "name", part))
def test_an_agent_loads_acts_as_it_did_and_goes_on(folder, name):
    told = TOLD[folder, name]
    agent = keras.saving.load_model(folder / f"{name}.keras")
    assert type(agent).__name__ == told["class"]
    assert int(agent.env_steps.numpy()) == told["env_steps"]
    assert int(agent.optimizer.iterations.numpy()) == told["iterations"]
    if "actions" in told:
        now, then = write_files.actions(agent, as_seen_then(agent)), told["actions"]
        for x, y in zip(keras.tree.flatten(now), keras.tree.flatten(then), strict=True):
            np.testing.assert_allclose(x, y, atol=1e-3)
    if name in LIKE_ANOTHER:
        return
    agent.run_eagerly = True
    updates = agent.updates_per_rollout(4)
    history = write_files.fit(
        agent, write_files.ENVIRONMENTS[name], 2, initial_epoch=1, steps_per_epoch=updates
    ).history
    assert history["env_steps"][0] > told["env_steps"]
    assert int(agent.optimizer.iterations.numpy()) == told["iterations"] * 5 // 4, "one rollout after four"


def as_seen_then(agent):
    """Observations that the network now sees as those of `write_files` then: `predict` did not take off where spaces start."""
    values = krp.spaces.pairs(agent.input_space, write_files.observations(agent))
    shifted = iter([value + getattr(leaf, "start", 0) for leaf, value in values])
    return krp.spaces.map_structure(lambda leaf: next(shifted), agent.input_space)


@every_version
def test_a_backup_is_resumed(folder, tmp_path):
    shutil.copytree(folder / "backup", tmp_path / "backup")
    agent, env = write_files.agents("dqn_rainbow")["dqn_rainbow"]
    agent.run_eagerly = True
    history = write_files.fit(agent, env, 2, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "backup")]).history
    assert len(history["env_steps"]) == 1, "it did not begin with the second epoch"
    assert history["env_steps"][0] > TOLD[folder, "dqn_rainbow"]["env_steps"]


@every_version
def test_a_run_is_evaluated_and_goes_on(folder, tmp_path, capsys):
    run = shutil.copytree(folder / "run", tmp_path / "run")
    assert main(["evaluate", str(run), "--episodes", "4"]) == 0
    assert main(["train", "--resume", str(run), "--epochs", "3"]) == 0
    assert len((run / "log.csv").read_text().splitlines()) == 1 + 3


@every_version
def test_a_recording_is_learned_from(folder):
    stored = np.load(folder / "recording.npz")
    episodes = [
        {key.removesuffix(f"_{i}"): stored[key] for key in stored.files if key.endswith(f"_{i}")} for i in range(3)
    ]
    agent, _ = write_files.agents("dqn")["dqn"]
    agent.add_experience(episodes)
    with gymnasium.make("CartPole-v1") as env:
        size = agent.fit(env, epochs=1, steps_per_epoch=2, verbose=0, seed=0).history["replay_size"][0]
    assert size >= sum(len(episode["rewards"]) for episode in episodes)
