"""`evaluate`, `visualize`, `plot`, `list` and the program around them."""

import json
import os
import pathlib
import re
import shlex
import shutil

import keras
import pytest
from cli_run import rows
from PIL import Image

import keras_rl_prob
import keras_rl_prob as krp
from keras_rl_prob import catalog, usage
from keras_rl_prob.cli import main, runs
from keras_rl_prob.cli.commands import plot

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "command-line.md"


def mean_return(printed):
    return float(
        re.search(r"mean return ([-\d.]+), mean length [\d.]+, standard deviation of returns [\d.]+\n", printed)[1]
    )


def test_evaluate_takes_the_checkpoint_that_was_asked_for(finished, capsys):
    returns = [float(row["val_return"]) for row in rows(finished)]
    for checkpoint, expected in (
        ([], max(returns)),
        (["--checkpoint", "final"], returns[-1]),
        (["--checkpoint", str(finished / "best.keras")], max(returns)),
    ):
        assert main(["evaluate", str(finished), "--episodes", "4", *checkpoint]) == 0
        assert mean_return(capsys.readouterr().out) == pytest.approx(expected, abs=0.01)


def test_evaluate_passes_on_how_to_act_and_the_seed(finished, capsys):
    agent = keras.saving.load_model(finished / "best.keras")
    expected = agent.evaluate("tf/CartPole-v1", episodes=3, deterministic=False, seed=7, verbose=0)[0]
    assert main(["evaluate", str(finished), "--episodes", "3", "--stochastic", "--seed", "7"]) == 0
    printed = capsys.readouterr().out
    assert "3 stochastic episodes of best" in printed
    assert mean_return(printed) == pytest.approx(expected, abs=0.01)


def test_evaluate_acts_at_random_as_often_as_asked_for(finished, capsys):
    agent = keras.saving.load_model(finished / "best.keras")
    expected = agent.evaluate("tf/CartPole-v1", episodes=4, epsilon=0.5, verbose=0)[0]
    assert main(["evaluate", str(finished), "--episodes", "4", "--epsilon", "0.5"]) == 0
    printed = capsys.readouterr().out
    assert "4 deterministic episodes of best, a random action with probability 0.5:" in printed
    assert mean_return(printed) == pytest.approx(expected, abs=0.01)
    assert mean_return(printed) != pytest.approx(agent.evaluate("tf/CartPole-v1", episodes=4, verbose=0)[0], abs=0.01)
    assert main(["evaluate", str(finished), "--epsilon", "2"]) == 2
    assert "`epsilon` must be between 0 and 1. Received: epsilon=2.0" in capsys.readouterr().err


def test_visualize_records_as_many_episodes_as_were_asked_for(finished, tmp_path, capsys):
    command = ["visualize", str(finished), "--outdir", str(tmp_path), "--episodes", "2", "--format", "gif"]
    assert main([*command, "--max-frames", "9"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["episode_1.gif", "episode_2.gif"]
    pictures = [Image.open(path) for path in sorted(tmp_path.iterdir())]
    assert all(picture.n_frames > 2 for picture in pictures)
    assert pictures[0].tobytes() != pictures[1].tobytes()  # another seed
    assert capsys.readouterr().out.count("return 8.00, length 8") == 2


def test_visualize_gives_the_environment_its_arguments(copy, tmp_path, capsys):
    config = json.loads((copy / "config.json").read_text())
    config["env"] |= {"id": "CartPole-v1", "kwargs": {"max_episode_steps": 3}}
    (copy / "config.json").write_text(json.dumps(config))
    assert main(["visualize", str(copy), "--outdir", str(tmp_path), "--episodes", "1", "--format", "gif"]) == 0
    assert "length 3" in capsys.readouterr().out


def test_native_environments_with_arguments_are_played_and_drawn_as_asked(copy, tmp_path, capsys, monkeypatch):
    config = json.loads((copy / "config.json").read_text())
    config["env"]["kwargs"] = {"max_episode_steps": 3}
    (copy / "config.json").write_text(json.dumps(config))
    made, make_native = [], keras_rl_prob.envs.make_native
    count = lambda *args, **kwargs: made.append(args) or make_native(*args, **kwargs)  # noqa: E731
    monkeypatch.setattr(keras_rl_prob.envs, "make_native", count)
    assert main(["evaluate", str(copy), "--episodes", "6"]) == 0
    assert made[-1] == ("tf/CartPole-v1", 6)
    assert mean_return(capsys.readouterr().out) == 3.0
    assert main(["visualize", str(copy), "--outdir", str(tmp_path), "--episodes", "1", "--format", "gif"]) == 0
    assert "length 3" in capsys.readouterr().out
    config["env"]["kwargs"] = {"zzz": 3}
    (copy / "config.json").write_text(json.dumps(config))
    assert main(["visualize", str(copy), "--outdir", str(tmp_path)]) == 2


def test_plot_draws_one_picture_of_all_runs(finished, copy, tmp_path, capsys):
    path = tmp_path / "new" / "curves.png"
    assert main(["plot", str(finished), str(copy), "--out", str(path), "--title", "Title"]) == 0
    assert Image.open(path).size[0] > 800
    assert f"Wrote {path}" in capsys.readouterr().out


PLAIN = {"metric": None, "smoothing": 1, "band": "range"}
CHANGED = ["--metric", "entropy", "--smoothing", "3", "--band", "deviation", "--colours", "tab:red", "#d55e00"]


def test_plot_hands_over_the_logs_by_configuration(finished, copy, monkeypatch):
    config = json.loads((copy / "config.json").read_text())
    given = []
    monkeypatch.setattr(
        plot.callbacks, "plot_learning_curves", lambda *arguments, **how: given.append((*arguments, how))
    )
    (copy / "config.json").write_text(json.dumps({**config, "seed": 6}))
    assert main(["plot", str(finished), str(copy)]) == 0
    config["agent"]["clip_ratio"] = 0.1
    (copy / "config.json").write_text(json.dumps(config))
    assert main(["plot", str(finished), str(copy), "--out", "x.pdf", "--title", "T", *CHANGED]) == 0
    logs = [finished / "log.csv", copy / "log.csv"]
    assert given[0] == ({"cartpole": logs}, pathlib.Path("curve.png"), "tf/CartPole-v1", PLAIN)
    apart = {"cartpole clip_ratio=0.2": logs[:1], "cartpole clip_ratio=0.1": logs[1:]}
    changed = {"metric": "entropy", "smoothing": 3, "band": "deviation", "colours": ["tab:red", "#d55e00"]}
    assert given[1] == (apart, pathlib.Path("x.pdf"), "T", changed)


def test_labels_tell_configurations_apart_by_what_differs():
    def config(seed=1, epochs=1, **agent):
        return {"name": "x", "seed": seed, "fit": {"epochs": epochs}, "agent": agent}

    configs = {"a": config(1, clip=1, g=0), "b": config(2, 9, clip=1, g=0), "c": config(clip=2, g=0)}
    assert plot.labels(configs) == {"a": "x clip=1", "b": "x clip=1", "c": "x clip=2"}
    assert plot.labels({"a": configs["a"], "b": configs["b"]}) == {"a": "x", "b": "x"}
    assert plot.labels({"a": configs["a"], "d": configs["c"] | {"name": "y"}}) == {"a": "x", "d": "y"}


def test_list_names_every_preset_and_native_environment(capsys):
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert re.search(
        r"^tf/CartPoleNoVel-v1\n  cartpole_novel +RecurrentPPO +cartpole with hidden", printed, re.MULTILINE
    )
    words = printed.split()
    assert set(krp.presets.names()) | set(krp.envs.native_ids()) <= set(words)
    assert set(usage.presets_table(80).split()) == set(words)


@pytest.mark.parametrize("width", [20, 60, 80, 200])
def test_list_fits_the_window(width):
    lines = usage.presets_table(width).splitlines()
    assert max(map(len, lines)) <= max(width, 60)
    assert sum("kill as many opponents" in line for line in lines) == (width >= 80)  # wrapped only where it has to be


def test_the_catalog_has_the_native_environments_that_can_be_made():
    assert sorted(catalog.NATIVE) == krp.envs.native_ids()


@pytest.mark.parametrize("command", ["--help", *usage.COMMANDS])
def test_help_fits_80_columns(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_evaluate_takes_a_file_and_finds_its_environment(finished, tmp_path, capsys):
    assert main(["evaluate", str(finished / "best.keras"), "--episodes", "4"]) == 0
    inside = capsys.readouterr().out
    assert inside.startswith("tf/CartPole-v1, 4 deterministic episodes of best.keras:")
    alone = shutil.copy(finished / "best.keras", tmp_path / "agent.keras")
    assert main(["evaluate", str(alone), "--env", "tf/CartPole-v1", "--episodes", "4"]) == 0
    assert mean_return(capsys.readouterr().out) == mean_return(inside)
    assert main(["evaluate", str(alone)]) == 2
    assert "agent.keras is in no run folder: name the environment, as in --env CartPole-v1" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "no.keras"), "--env", "tf/CartPole-v1"]) == 2
    assert "There is no" in capsys.readouterr().err


def test_evaluate_can_play_in_another_environment_than_that_of_the_run(finished, capsys):
    assert main(["evaluate", str(finished), "--env", "CartPole-v1", "--episodes", "2"]) == 0
    assert capsys.readouterr().out.startswith("CartPole-v1, 2 deterministic episodes of best:")
    assert main(["evaluate", str(finished), "--env", "tf/Pendulum-v1"]) == 2
    assert "observation_space" in capsys.readouterr().err


def test_plot_takes_a_folder_of_runs_and_experiments(experimented, finished, tmp_path, monkeypatch):
    for name in ("b", "a"):
        shutil.copytree(finished, tmp_path / name)
    shutil.copytree(experimented, tmp_path / "experiment")
    (tmp_path / "not_begun").mkdir()
    (tmp_path / "not_begun" / "config.json").write_text((finished / "config.json").read_text())
    (tmp_path / "other").mkdir()
    expected = ["a", "b", "experiment/seed_4", "experiment/seed_5"]
    assert [str(path.relative_to(tmp_path)) for path in runs.runs_in(tmp_path)] == expected
    given = []
    monkeypatch.setattr(
        plot.callbacks, "plot_learning_curves", lambda *arguments, **how: given.append((*arguments, how))
    )
    assert main(["plot", str(tmp_path)]) == 0
    assert list(given[0][0].values()) == [[tmp_path / name / "log.csv" for name in expected]]


def test_plot_of_an_experiment_leaves_out_seeds_that_have_not_begun(experimented, tmp_path):
    shutil.copytree(experimented, tmp_path / "experiment")
    (tmp_path / "experiment" / "seed_5" / "log.csv").unlink()
    assert main(["plot", str(tmp_path / "experiment"), "--out", str(tmp_path / "curve.png")]) == 0
    assert Image.open(tmp_path / "curve.png").size[0] > 800


def test_plot_of_a_folder_without_runs_says_so(tmp_path, capsys):
    assert main(["plot", str(tmp_path)]) == 2
    assert "is not a run folder" in capsys.readouterr().err


@pytest.mark.parametrize("command", usage.COMMANDS)
def test_help_explains_with_examples_that_can_be_parsed(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert usage.COMMANDS[command].__doc__ in printed
    examples = re.findall(r"^  keras-rl-prob (.*)", printed, re.MULTILINE)
    assert examples
    for example in examples:
        usage.parse(shlex.split(example))


def test_the_commands_of_the_documentation_can_be_parsed():
    commands = re.findall(r"^\$ keras-rl-prob (.*)", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert {command.split()[0] for command in commands} >= set(usage.COMMANDS)
    for command in commands:
        usage.parse(shlex.split(command))


def test_the_programs_help_and_version(capsys):
    for option, expected in (("--help", "visualize"), ("--version", krp.__version__)):
        with pytest.raises(SystemExit) as end:
            main([option])
        assert end.value.code == 0
        assert expected in capsys.readouterr().out


def test_play_shows_the_agent_of_a_run(finished, capsys, monkeypatch):
    played = []
    monkeypatch.setattr(
        krp.Agent, "play", lambda *args, **how: played.append((args, how)) or [{"return": 3.5, "length": 7}]
    )
    monkeypatch.setenv("DISPLAY", ":0")
    assert main(["play", str(finished), "--stochastic", "--epsilon", "0.1", "--fps", "5", "--seed", "3"]) == 0
    assert main(["play", str(finished / "final.keras"), "--env", "CartPole-v1", "--show", "terminal"]) == 0
    (first, how), (second, plain) = played
    assert isinstance(first[0], krp.PPO)
    assert (first[1], second[1]) == ("tf/CartPole-v1", "CartPole-v1")
    shown = {"episodes": 1, "fps": 5.0, "render_mode": "human"}
    assert how == {"deterministic": False, "epsilon": 0.1, "seed": 3, **shown}
    assert plain == {
        "deterministic": True,
        "epsilon": 0.0,
        "seed": 0,
        "episodes": 1,
        "fps": None,
        "render_mode": "terminal",
    }
    assert capsys.readouterr().out == "episode 1: return 3.50, length 7\n" * 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "A run folder or a .keras file is needed, or --keyboard with --env"),
        (["--keyboard", "--env", "CartPole-v1"], "A person plays at the keyboard of a terminal"),
        (["run", "--default", "1"], "--default belongs to --keyboard"),
        (["--keyboard", "--env", "Nothing-v0"], "`env` must be the id of an environment"),
    ],
)
def test_play_says_in_a_sentence_what_is_missing(arguments, said, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115
    assert main(["play", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"keras-rl-prob play: {said}")
