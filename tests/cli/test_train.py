"""`train`: the files of a run, and reproducing, resuming and extending it."""

import builtins
import contextlib
import csv
import importlib.util
import json
import multiprocessing
import re

import keras
import pytest
from cli_run import TINY, only, rows, same_state, state
from PIL import Image

import keras_rl_prob as krp
from keras_rl_prob.cli import configs, main, runs, training


def test_a_run_leaves_everything_that_help_promises(finished):
    assert {path.name for path in finished.iterdir()} == {
        "backup", "best.keras", "config.json", "curve.png", "final.keras", "log.csv", "tensorboard",
    }  # fmt: skip
    config = json.loads((finished / "config.json").read_text())
    assert (config["seed"], config["version"], config["name"]) == (5, krp.__version__, "cartpole")
    assert config["agent"]["rollout_steps"] == 16  # as asked
    assert config["agent"]["gae_lambda"] == 0.95  # the default
    assert config["fit"]["epochs"] == 3
    assert [row["epoch"] for row in rows(finished)] == ["0", "1", "2"]
    assert Image.open(finished / "curve.png").size[0] > 800
    events = {path.parent.name for path in (finished / "tensorboard").rglob("events*")}
    assert events == {"train", "validation", "rollouts"}


def test_an_environment_and_an_agent_are_enough_and_their_configuration_is_complete(tmp_path):
    command = ["train", "CartPole-v1", "--agent", "A2C", "--epochs", "1", "--logdir", str(tmp_path), "--seed", "3"]
    few = ["--set", "fit.steps_per_epoch=2", "--set", "fit.validation_episodes=2", "--set", "compile.jit_compile=false"]
    assert main([*command, *few, "--set", "optimizer.learning_rate=0.01"]) == 0
    run = only(tmp_path)
    assert run.name.endswith("-CartPole-v1-A2C")
    config = json.loads((run / "config.json").read_text())
    assert (config["name"], config["env"]["id"], config["agent"]["class"]) == ("CartPole-v1-A2C", "CartPole-v1", "A2C")
    assert (config["env"]["num_envs"], config["agent"]["discount"], config["fit"]["epochs"]) == (
        krp.A2C.default_num_envs,
        0.99,
        1,
    )
    assert config["optimizer"]["learning_rate"] == 0.01
    agent = keras.saving.load_model(run / "final.keras")
    assert type(agent) is krp.A2C
    assert len(rows(run)) == 1


def test_environments_in_processes_train_what_those_in_this_process_do(tmp_path, monkeypatch):
    command = ["train", "Acrobot-v1", "--agent", "A2C", "--epochs", "2", "--seed", "3"]
    few = {
        "env.kwargs": '{"max_episode_steps": 9}',
        "env.num_envs": 4,
        "fit.steps_per_epoch": 3,
        "fit.validation_episodes": 2,
        "compile.run_eagerly": "true",
    }
    command += [part for key, value in few.items() for part in ("--set", f"{key}={value}")]
    workers, write = [], krp.callbacks.RunLog.on_epoch_end

    def noting(self, epoch, logs=None):
        workers.append(len([x for x in multiprocessing.active_children() if x.name.startswith("Worker<")]))
        write(self, epoch, logs)

    monkeypatch.setattr(krp.callbacks.RunLog, "on_epoch_end", noting)
    made = []
    for processes in ([], ["--env-processes", "2"]):
        assert main([*command, *processes, "--logdir", str(tmp_path / str(len(processes)))]) == 0
        made.append(only(tmp_path / str(len(processes))))
    assert workers == [0, 0, 2, 2]
    assert not multiprocessing.active_children()
    assert json.loads((made[1] / "config.json").read_text())["env"]["processes"] == 2
    assert same_state(*made)
    assert rows(made[0]) == rows(made[1])


@pytest.mark.parametrize(
    "agent", ["PPO", "A2C", "A3C", "DQN", "RecurrentDQN", "LinearQ", "ACER", "IMPALA", "Reinforce"]
)
def test_the_optimizer_of_an_agent_without_a_preset_is_its_default(agent):
    config = configs.without_preset("CartPole-v1", agent)
    assert configs.without_preset("CartPole-v1", None)["agent"] == {"class": "PPO"}
    made = krp.presets.build({**config, "compile": {"jit_compile": False}}).optimizer
    default = getattr(krp, agent)().default_optimizer()
    assert type(made) is type(default)
    assert {**made.get_config(), "name": ""} == {**default.get_config(), "name": ""}


def test_best_is_the_agent_with_the_highest_val_return_and_final_the_last(finished):
    returns = [float(row["val_return"]) for row in rows(finished)]
    assert len(set(returns)) > 1
    for name, expected in (("best.keras", max(returns)), ("final.keras", returns[-1])):
        agent = keras.saving.load_model(finished / name)
        assert agent.evaluate("tf/CartPole-v1", episodes=4, verbose=0)[0] == pytest.approx(expected)


def test_a_runs_configuration_makes_it_again_and_more_epochs_go_on_as_if_there_had_been_more_at_once(
    finished, tmp_path, capsys
):
    short = ["train", "--config", str(finished / "config.json"), "--epochs", "2", "--logdir", str(tmp_path)]
    assert main(short) == 0
    run = only(tmp_path)
    assert run.name.endswith("-cartpole")
    assert rows(run) == rows(finished)[:2]
    assert not same_state(finished, run)
    spoil(run / "log.csv", 0, "val_return", "9999.0")  # which is never exceeded
    best = (run / "best.keras").read_bytes()
    capsys.readouterr()
    assert main(["train", "--resume", str(run), "--epochs", "3"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^(Epoch )?3/3 ", printed, re.MULTILINE)
    assert " 2/3 " not in printed.replace("\n", " ")
    assert same_state(finished, run)
    assert rows(run)[1:] == rows(finished)[1:]
    assert (run / "best.keras").read_bytes() == best
    assert runs.read_config(run) == runs.read_config(finished)


def spoil(log, index, column, value):
    content = rows(log.parent)
    content[index][column] = value
    with log.open("w", newline="") as file:
        writer = csv.DictWriter(file, content[0])
        writer.writeheader()
        writer.writerows(content)


def test_a_complete_run_says_so_and_is_left_alone(copy, capsys):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    for more in ([], ["--epochs", "2"]):
        assert main(["train", "--resume", str(copy), *more]) == 0
        assert "is complete, with 3 epochs" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_killed_between_the_last_epoch_and_the_end(copy, finished, capsys):
    (copy / "final.keras").unlink()
    assert main(["train", "--resume", str(copy)]) == 0
    assert "3/3" not in capsys.readouterr().out
    assert same_state(finished, copy)


def test_a_run_is_not_resumed_with_fewer_epochs(copy, capsys):
    (copy / "final.keras").unlink()
    before = (copy / "config.json").read_text()
    assert main(["train", "--resume", str(copy), "--epochs", "2"]) == 2
    assert "--epochs must be at least 3, those of the run" in capsys.readouterr().err
    assert (copy / "config.json").read_text() == before
    assert not (copy / "final.keras").exists()


@pytest.mark.parametrize(
    "more",
    [
        ["--set", "agent.clip_ratio=0.1"],
        ["--seed", "3"],
        ["--config", "pendulum"],
        TINY,
        ["CartPole-v1"],
        ["--agent", "PPO"],
    ],
)
def test_a_run_is_resumed_with_no_other_settings(copy, more, capsys):
    assert main(["train", "--resume", str(copy), "--epochs", "9", *more]) == 2
    assert "Only more epochs can be given" in capsys.readouterr().err
    assert json.loads((copy / "config.json").read_text())["fit"]["epochs"] == 3


def test_without_the_extras_it_trains_and_says_what_is_missing(finished, tmp_path, capsys, monkeypatch):
    usual_import, usual_find = builtins.__import__, importlib.util.find_spec

    def lacking(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return usual_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", lacking)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *args: None if name == "tensorboard" else usual_find(name, *args)
    )
    recorders = training._recorders(tmp_path, runs.read_config(finished))
    assert [type(recorder).__name__ for recorder in recorders] == ["BestCheckpoint", "RunLog"]
    printed = capsys.readouterr().out
    assert 'Without curve.png. Plots need Matplotlib: pip install "keras_rl_prob[plot]"' in printed
    assert (
        'Without TensorBoard. `RolloutHistograms` needs TensorBoard: pip install "keras_rl_prob[tensorboard]"'
        in printed
    )


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(runs.time, "strftime", lambda form: "20260131T093000")
    made = [runs.create(tmp_path / "new" / "logdir", "a/b").name for _ in range(3)]
    assert made == ["20260131T093000-a_b", "20260131T093000-a_b-2", "20260131T093000-a_b-3"]


def test_seeds_are_recorded_and_decide_the_weights(finished):
    config = runs.read_config(finished)
    first, again = (training.built(config).network.get_weights() for _ in range(2))
    other = training.built({**config, "seed": 6}).network.get_weights()
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not all((a == b).all() for a, b in zip(first, other, strict=True))
    assert not any(((x == y).all() for x, y in zip(first[:1], state(finished)[:1], strict=True)))


def test_collectors_are_part_of_the_configuration_and_their_address_is_not(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(krp.Agent, "fit", lambda agent, env, **arguments: trained.append((env, arguments)))
    command = ["train", "--config", "cartpole_impala", "--logdir", str(tmp_path), "--collectors", "4", "--seed", "1"]
    assert main([*command, "--address", "10.0.0.1:6379"]) == 0
    assert trained[0][1]["collectors"] == krp.distributed.RayCollectors(4, address="10.0.0.1:6379")
    run = only(tmp_path)
    assert runs.read_config(run)["env"]["collectors"] == 4
    assert "6379" not in (run / "config.json").read_text()
    (run / "final.keras").unlink()
    assert main(["train", "--resume", str(run)]) == 0
    assert trained[1][1]["collectors"] == krp.distributed.RayCollectors(4)
    kwargs = ["--set", 'env.kwargs={"max_episode_steps": 9}', "--set", "env.num_envs=8"]
    for preset, number in (("cartpole", 2), ("cartpole_impala", 8)):
        command = ["train", "--config", preset, "--logdir", str(tmp_path / preset), "--collectors", "4", *kwargs]
        assert main(command) == 0
        assert trained[-1][0].num_envs == number


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--collectors", "0"], "must be a positive integer"),
        (["--address", "auto"], "--address needs --collectors N"),
        (["--collectors", "3"], "must be a multiple of the number of collectors"),
    ],
)
def test_collectors_that_do_not_fit_are_refused_before_a_folder_is_made(arguments, message, tmp_path, capsys):
    with contextlib.suppress(SystemExit):
        assert main(["train", "--config", "cartpole", "--logdir", str(tmp_path / "runs"), *arguments]) != 0
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
