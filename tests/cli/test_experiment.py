"""`experiment`: a run for each seed, the table, and continuing with missing runs."""

import re
import shutil
import statistics

import pytest
from cli_run import rows, same_state
from PIL import Image

from keras_rl_prob.cli import main, runs, training
from keras_rl_prob.cli.bootstrap import bootstrap_interval
from keras_rl_prob.cli.commands import experiment


def test_it_leaves_a_run_for_each_seed_and_the_picture(experimented, finished):
    assert experimented.name.endswith("-cartpole-experiment")
    folders = runs.seeds_of(experimented)
    assert [folder.name for folder in folders] == ["seed_4", "seed_5"]
    assert [runs.read_config(folder)["seed"] for folder in folders] == [4, 5]
    assert not same_state(folders[0], finished)
    assert Image.open(experimented / "curve.png").size[0] > 800


def test_resume_trains_what_is_missing_and_prints_the_table(experimented, capsys, monkeypatch):
    trained = []
    monkeypatch.setattr(training, "built", lambda config: None)
    monkeypatch.setattr(training, "fit", lambda agent, folder, config: trained.append((folder.name, config["seed"])))
    final = experimented / "seed_5" / "final.keras"
    content = final.read_bytes()
    monkeypatch.setattr(
        runs, "load_agent", lambda folder, name, load=runs.load_agent: load(experimented / "seed_4", name)
    )
    final.unlink()
    played = []
    monkeypatch.setattr(experiment, "evaluation_envs", lambda episodes, kinds: played.append(episodes) or 4)
    assert main(["experiment", "--resume", str(experimented)]) == 0
    assert played == [4, 4]  # as they were when the experiment began
    final.write_bytes(content)
    assert trained == [("seed_5", 5)]
    value = float(rows(experimented / "seed_4")[-1]["val_return"])
    assert re.search(rf"seed_4 +{value:.2f}\nseed_5 +{value:.2f}\n", capsys.readouterr().out)


def test_resume_adds_seeds_to_an_experiment(experimented, tmp_path, capsys, monkeypatch):
    folder = shutil.copytree(experimented, tmp_path / "experiment")
    trained = []

    def train(agent, run, config):
        trained.append({**config, "seed": 4} == runs.read_config(folder / "seed_4") and config["seed"])
        shutil.copytree(folder / "seed_5", run, dirs_exist_ok=True, ignore=shutil.ignore_patterns("config.json"))

    monkeypatch.setattr(training, "built", lambda config: None)
    monkeypatch.setattr(training, "fit", train)
    command = ["experiment", "--resume", str(folder), "--seeds"]
    assert main([*command, "4"]) == 0
    assert trained == [6, 7]
    assert [name for name in capsys.readouterr().out.split() if name.startswith("seed_")][:4] == [
        f"seed_{seed}" for seed in (4, 5, 6, 7)
    ]
    assert main([*command, "3"]) == 2
    assert "Received: --seeds 3 for 4 seeds" in capsys.readouterr().err
    assert main(["experiment", "--resume", str(folder / "seed_4"), "--seeds", "3"]) == 2
    assert "Received: --seeds 3 for a single run" in capsys.readouterr().err
    assert not list(folder.glob("seed_4/seed_*"))


def test_a_signal_ends_the_experiment_and_says_how_to_go_on(experimented, capsys, monkeypatch):
    monkeypatch.setattr(training, "is_complete", lambda folder, config: False)
    monkeypatch.setattr(training, "built", lambda config: None)
    monkeypatch.setattr(training, "fit", lambda agent, folder, config: 15)
    assert main(["experiment", "--resume", str(experimented)]) == 143
    assert f"To continue: keras-rl-prob experiment --resume {experimented}" in capsys.readouterr().out


def test_the_table(capsys):
    returns = {"seed_1": 10.0, "seed_2": 40.0, "seed_3": 20.0, "seed_4": 21.0}
    experiment._report(returns, 100)
    low, high = bootstrap_interval(list(returns.values()))
    mean = statistics.fmean(returns.values())
    printed = capsys.readouterr().out
    assert f"mean return over 100 episodes {mean:.2f}, 95 % interval {low:.2f} to {high:.2f}" in printed
    assert "median 20.50, best seed_2 40.00, worst seed_1 10.00" in printed


def test_seeds_are_in_the_order_of_their_numbers(tmp_path):
    for seed in (10, 2, 1):
        (tmp_path / f"seed_{seed}").mkdir()
        (tmp_path / f"seed_{seed}" / "config.json").touch()
    assert [folder.name for folder in runs.seeds_of(tmp_path)] == ["seed_1", "seed_2", "seed_10"]


@pytest.mark.parametrize("more", [["--config", "pendulum"], ["--set", "a.b=1"], ["--epochs", "3"], ["--seed", "3"]])
def test_an_experiment_is_resumed_with_its_own_settings(tmp_path, more, capsys):
    assert main(["experiment", "--resume", str(tmp_path), *more]) == 2
    assert "no others are possible" in capsys.readouterr().err
    assert main(["experiment", "--resume", str(tmp_path)]) == 2
    assert "is not a run folder" in capsys.readouterr().err
