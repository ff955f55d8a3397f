"""`tune`: a search around a preset, whose best configuration `train` takes."""

import json
import re

import keras_tuner
import pytest
from cli_run import TINY, only

import keras_rl_prob as krp
from keras_rl_prob import presets, usage
from keras_rl_prob.cli import configs, main
from keras_rl_prob.cli.commands import tune
from keras_rl_prob.presets.configuration import lookup

TUNE = ["tune", "--config", "cartpole", "--epochs", "1", "--seed", "3", *TINY]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The folder of a search of two trials."""
    logdir = tmp_path_factory.mktemp("tune")
    search = ["--search", "optimizer.learning_rate=1e-4:1e-2:log", "--search", "agent.discount=0.9,0.95"]
    assert main([*TUNE, "--trials", "2", "--logdir", str(logdir), *search]) == 0
    return only(logdir)


def trials(folder):
    """Score and values of every trial, as KerasTuner has recorded them."""
    found = [json.loads(path.read_text()) for path in folder.glob("trial_*/trial.json")]
    assert all(trial["status"] == "COMPLETED" for trial in found)
    return [(trial["score"], trial["hyperparameters"]["values"]) for trial in found]


def test_the_best_settings_are_a_configuration(searched):
    assert searched.name.endswith("-cartpole-tuning")
    (_, worse), (_, best) = sorted(trials(searched), key=lambda trial: trial[0])
    assert worse != best
    config = configs.load(str(searched / "best.json"))
    assert lookup(config, "optimizer.learning_rate") == best["optimizer.learning_rate"]
    assert lookup(config, "agent.discount") == best["agent.discount"]
    assert lookup(config, "agent.rollout_steps") == 16
    assert lookup(config, "seed") == 3
    assert presets.build(config).discount == best["agent.discount"]


def test_trials_have_the_environments_and_the_budget_that_were_drawn(tmp_path, monkeypatch):
    fit, seen = krp.PPO.fit, []

    def watched(self, env, **arguments):
        history = fit(self, env, **arguments)
        seen.append((arguments["num_envs"], len(history.epoch)))
        return history

    monkeypatch.setattr(krp.PPO, "fit", watched)
    search = ["--search", "env.num_envs=2,8", "--search", "fit.epochs=2,3", "--set", "fit.validation_freq=2"]
    assert main([*TUNE, "--trials", "4", "--logdir", str(tmp_path), *search]) == 0
    folder = only(tmp_path)
    drawn = [(values["env.num_envs"], values["fit.epochs"]) for _, values in trials(folder)]
    assert sorted(seen) == sorted(drawn)
    assert len(set(drawn)) == 4
    _, values = max(trials(folder), key=lambda trial: trial[0])
    config = configs.load(str(folder / "best.json"))
    assert (lookup(config, "env.num_envs"), lookup(config, "fit.epochs")) == tuple(values.values())


def test_collectors_of_a_configuration_collect_in_trials(tmp_path, monkeypatch):
    given = []

    def fails(self, env, **arguments):
        given.append(arguments["collectors"])
        raise ValueError("enough")

    monkeypatch.setattr(krp.PPO, "fit", fails)
    assert main([*TUNE, "--trials", "1", "--logdir", str(tmp_path), "--set", "env.collectors=2"]) == 1
    assert given == [2]


def test_going_on_when_nothing_is_left_prints_the_best_again(searched, capsys):
    before = (searched / "best.json").read_text()
    (searched / "best.json").unlink()
    assert main(["tune", "--resume", str(searched)]) == 0
    printed = capsys.readouterr().out
    best, values = max(trials(searched), key=lambda trial: trial[0])
    assert f"Best val_return: {best:.2f}" in printed
    assert f"agent.discount={values['agent.discount']}" in printed
    assert "Epoch" not in printed
    assert f"train --config {searched / 'best.json'}" in printed
    assert (searched / "best.json").read_text() == before


def test_a_long_search_in_processes_is_the_same_search(searched, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tune, "TRIALS_OF_A_PROCESS", 1)
    folder = tmp_path / "again"
    folder.mkdir()
    (folder / "tuning.json").write_text((searched / "tuning.json").read_text())
    assert main(["tune", "--resume", str(folder)]) == 0
    assert sorted(trials(folder), key=str) == sorted(trials(searched), key=str)
    assert capfd.readouterr().out.count("Best val_return: ") == 1
    assert (folder / "best.json").read_text() == (searched / "best.json").read_text()


def test_a_process_of_a_search_that_fails_ends_it(searched, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tune, "TRIALS_OF_A_PROCESS", 1)
    processes = []
    monkeypatch.setattr(tune, "_search_apart", lambda folder, trials: processes.append(trials) or 2)
    folder = tmp_path / "failing"
    folder.mkdir()
    (folder / "tuning.json").write_text((searched / "tuning.json").read_text())
    assert main(["tune", "--resume", str(folder), "--trials", "4"]) == 2
    assert processes == [1]
    assert "Best" not in capfd.readouterr().out


def test_the_values_that_are_drawn():
    hp = keras_tuner.HyperParameters()
    draws = {
        "a": ("1:5", int),
        "b": ("1.0:5", float),
        "c": ("1e-4:1e-2:log", float),
        "d": ("lstm,gru", str),
        "e": ("true,false", bool),
        "f": ("8:128:log", int),
    }
    for key, (text, kind) in draws.items():
        assert type(tune._drawn(hp, key, text)) is kind
    spaces = {parameter.name: parameter.get_config() for parameter in hp.space}
    assert (spaces["a"]["min_value"], spaces["a"]["max_value"], spaces["a"]["sampling"]) == (1, 5, "linear")
    assert (spaces["c"]["min_value"], spaces["c"]["max_value"], spaces["c"]["sampling"]) == (1e-4, 1e-2, "log")
    assert spaces["f"]["sampling"] == "log"
    assert list(spaces["d"]["values"]) == ["lstm", "gru"]


@pytest.mark.parametrize(
    ("more", "searched_keys"),
    [
        ([], {"optimizer.learning_rate.initial_learning_rate", "agent.clip_ratio", "agent.entropy_coef"}),
        (["--set", "optimizer.learning_rate=1e-3"], {"optimizer.learning_rate", "agent.clip_ratio"}),
        (["--set", "agent.clip_ratio=null"], {"agent.entropy_coef", "agent.gae_lambda"}),
    ],
)
def test_what_is_searched_when_nothing_is_said(more, searched_keys):
    args = tune_arguments(["tune", "--config", "cartpole", *more])
    tuning = tune._asked(args)
    assert searched_keys <= set(tuning["search"])
    assert ("agent.clip_ratio" in tuning["search"]) == ("agent.clip_ratio=null" not in more)
    assert tuning["config"]["optimizer"]["class"] == "Adam"
    agent = tune._agent(tuning, keras_tuner.HyperParameters())
    assert agent.built


def tune_arguments(argv):
    return usage.parse(argv)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--search", "agent.gama=0.9,0.99"], "has no `agent.gama`"),
        (["--search", "agent.discount=0.9:x"], "takes KEY=LOW:HIGH"),
        (["--search", "agent.discount=0.9:0.8"], "takes KEY=LOW:HIGH"),
        (["--search", "agent.discount=0.8:0.9:lin"], "takes KEY=LOW:HIGH"),
        (["--search", "agent.discount"], "takes KEY=LOW:HIGH"),
        (["--search", "=0.9,0.99"], "takes KEY=LOW:HIGH"),
        (["--search", "agent.discount=NaN:0.9"], "takes KEY=LOW:HIGH"),
        (["--search", "agent.clip_ratio=0.1:Infinity"], "takes KEY=LOW:HIGH"),
        (["--search", "agent.discount=0.9,NaN"], "KEY=A,B,C takes finite numbers"),
        (["--search", "agent.discount=0.9,x"], "KEY=A,B,C takes finite numbers"),
        (["--search", "agent.entropy_coef=0:0.1:log"], "KEY=LOW:HIGH:log takes positive numbers"),
        (["--search", "agent.minibatches=7,8"], "`minibatches` must divide"),
        (["--set", "env.id=Nope-v0"], "must be an environment id"),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_there_is_a_folder(more, message, tmp_path, capsys):
    assert main([*TUNE, "--logdir", str(tmp_path), *more]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_resume_takes_a_search_and_nothing_else(searched, tmp_path, capsys):
    assert main(["tune", "--resume", str(tmp_path)]) == 2
    assert "is not a search: it has no tuning.json" in capsys.readouterr().err
    (tmp_path / "tuning.json").write_text("{}")
    assert main(["tune", "--resume", str(tmp_path)]) == 2
    assert re.search("is not what .* has written", capsys.readouterr().err)
    assert main(["tune", "--resume", str(searched), "--set", "agent.discount=0.5"]) == 2
    assert "Only --trials can be given" in capsys.readouterr().err


def test_when_all_trials_fail_it_says_why(tmp_path, capsys, monkeypatch):
    agent, calls = tune._agent, []

    def failing(tuning, hp):
        calls.append(hp)
        if len(calls) > 2:  # the first two calls come before the trials
            raise ValueError("no such luck")
        return agent(tuning, hp)

    monkeypatch.setattr(tune, "_agent", failing)
    assert main([*TUNE, "--logdir", str(tmp_path), "--trials", "4"]) == 2
    assert "ValueError: no such luck" in capsys.readouterr().err


def test_when_no_trial_has_a_result_there_is_no_best(tmp_path, capsys, monkeypatch):
    """KerasTuner itself stops after three failures in a row: here it is asked for fewer."""
    agent, calls = tune._agent, []

    def failing(tuning, hp):
        calls.append(hp)
        if len(calls) > 2:
            raise ValueError("no such luck")
        return agent(tuning, hp)

    monkeypatch.setattr(tune, "_agent", failing)
    assert main([*TUNE, "--logdir", str(tmp_path), "--trials", "2"]) == 1
    told = capsys.readouterr()
    last = told.err.splitlines()[-1]  # after KerasTuner's output for each trial
    assert re.search(r"^keras-rl-prob tune: No trial of .* has finished. The first failed with: .*no such luck", last)
    (folder,) = tmp_path.iterdir()
    assert not (folder / "best.json").exists()


def test_without_keras_tuner_it_names_the_extra(capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "keras_tuner", None)
    assert main(TUNE) == 2
    assert 'pip install "keras_rl_prob[tuner]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    "preset", ["cartpole_dqn", "cartpole_c51", "pendulum_sac", "pendulum_td3", "cartpole_sac", "cartpole_acer"]
)
def test_the_default_search_has_what_the_agent_of_any_preset_has(preset):
    args = usage.parse(["tune", "--config", preset])
    tuning = tune._asked(args)
    assert set(tuning["search"]) <= set(tune.SEARCH)
    assert "agent.discount" in tuning["search"]
    assert "agent.clip_ratio" not in tuning["search"]
    hp = keras_tuner.HyperParameters()
    agent = tune._agent(tuning, hp)
    assert set(hp.values) == set(tuning["search"])
    assert agent.discount == hp.get("agent.discount")
