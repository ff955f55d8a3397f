"""Errors of the user are a line or two; bugs are a traceback."""

import errno
import json

import keras
import pytest
from cli_run import TRAIN

from keras_rl_prob.cli import main, training
from keras_rl_prob.cli.commands import evaluate


def told(capsys):
    """The printed error: a message of this library, one or two lines, no traceback."""
    text = capsys.readouterr().err
    assert text.startswith("keras-rl-prob ")
    assert text.count("\n") <= 2
    assert "Traceback" not in text
    return text


def change(run, **sections):
    config = json.loads((run / "config.json").read_text())
    for name, entries in sections.items():
        config[name] = {**(config[name] or {}), **entries}
    (run / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "An environment is needed, as in `CartPole-v1 --agent PPO`, or --config with a JSON file or a preset"),
        (["--agent", "PPO"], "An environment is needed"),
        (["cartpole"], "cartpole is a preset: --config cartpole"),
        (["CartPole-v1", "--agent", "PPPO"], "Did you mean `PPO`"),
        (["CartPoel-v1"], "`env` must be an environment id"),
        (["tf/CartPoel-v1"], "Did you mean 'tf/CartPole-v1'"),
        (["Pendulum-v1", "--agent", "DQN"], "Discrete"),
        (["CartPole-v1", "--config", "cartpole"], "Either an environment and --agent, or --config"),
        (["--agent", "DQN", "--config", "cartpole"], "Either an environment and --agent, or --config"),
        (["--resume", "nowhere", "--agent", "PPO"], "nowhere is not a run folder"),
        (["--config", "cartpol"], "Did you mean 'cartpole'"),
        (["--config", "cartpole", "--set", "agent.clip_ration=1"], "Did you mean `agent.clip_ratio`?"),
        (["--config", "cartpole", "--set", "agent.clip_ratio"], "--set takes SECTION.KEY=VALUE"),
        (["--config", "cartpole", "--set", "=1"], "--set takes SECTION.KEY=VALUE"),
        (["--config", "cartpole", "--set", "agent.clip_ratio=x"], "must be a number such as its default, 0.2"),
        (["--config", "cartpole", "--set", "agent.clip_ratio.x=1", "--set", "agent.clip_ratio.x.y=1"], "cannot be set"),
        (["--config", "cartpole", "--set", "agent.discount=2"], "`discount` must be between 0 and 1"),
        (["--config", "cartpole", "--set", "agent.minibatches=7"], "`minibatches` must divide"),
        (["--config", "cartpole", "--set", "agent.value_coef=null"], "`value_coef` must be a number of at least 0"),
        (["--config", "cartpole", "--set", "agent.kl_penalty=3"], "kl_penalty` must be"),
        (["--config", "cartpole", "--set", 'agent.clip_ratio={"class": "EpsilonGreedy"}'], "clip_ratio` must be"),
        (["--config", "cartpole_dqn", "--set", 'agent.exploration={"class": "KLPenalty"}'], "`exploration` must be"),
        (["--config", "cartpole", "--set", "env.id=Nope-v0"], "`env` must be an environment id"),
        (["--config", "cartpole", "--set", "env.id=tf/CartPoel-v1"], "Did you mean 'tf/CartPole-v1'"),
        (["--config", "cartpole", "--set", "env.id=nope:Nope-v0"], "No module named 'nope'"),
        (["--config", "cartpole", "--set", 'env.kwargs={"zzz": 1}'], "'zzz'"),
        (["--config", "cartpole", "--set", 'network={"builder": "nature_cnn"}'], "must have an image"),
        (["--config", "cartpole", "--set", "seed=-1"], "`seed` must be an integer"),
        (["--config", "cartpole", "--set", "seed=true"], "`seed` must be an integer"),
        (["--config", "cartpole", "--set", "optimizer.learning_rate=NaN"], "learning_rate` must be a finite number"),
        (["--config", "cartpole", "--set", "optimizer.learning_rate=-1"], "learning_rate` must be a positive number"),
        (["--config", "cartpole", "--set", "compile.steps_per_execution=3"], "must be a multiple of the 16"),
        (["--config", "cartpole", "--set", "agent.gamma=0.9"], "Did you mean `agent.discount`?"),
        (["--config", "cartpole", "--set", "agent.=1"], "`key` must be names with dots between them"),
        (["CartPole-v1", "--env-steps", "3", "--epochs", "50"], "`env_steps` must be at least"),
        (["CartPole-v1", "--env-processes", "3"], "`env_processes` must divide"),
        (["tf/CartPole-v1", "--env-processes", "2"], "native ones and those that are already made stay"),
        (["--config", "mine.yaml"], "--config takes a preset or a .json file"),
        (["--resume", "nowhere"], "nowhere is not a run folder: it has no config.json"),
    ],
)
def test_what_cannot_be_trained_leaves_no_folder(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) == 2
    assert message in told(capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", ["0", "-3", "x", "1.5"])
def test_counts_must_be_positive(number, capsys):
    for command in (["evaluate", "run", "--episodes"], ["train", "--epochs"], ["visualize", "run", "--max-frames"]):
        with pytest.raises(SystemExit) as end:
            main([*command, number])
        assert end.value.code == 2
        assert f"must be a positive integer. Received: '{number}'" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["-1", "x", "1.5", "nan", str(2**31)])
def test_seeds_must_fit_into_32_bits(number, capsys):
    for command in (["evaluate", "run"], ["train"], ["experiment"], ["tune"], ["visualize", "run", "--outdir", "x"]):
        with pytest.raises(SystemExit) as end:
            main([*command, "--seed", number])
        assert end.value.code == 2
        assert f"--seed: must be an integer from 0 to 2147483647. Received: '{number}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [["experiment", "--config", "cartpole", "--seeds"], ["visualize", "run", "--outdir", "x", "--episodes"]]
)
def test_seeds_that_follow_must_fit_too(command, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*command, "3", "--seed", str(2**31 - 2)]) == 2
    assert "--seed must leave room for 3 seeds below 2**31. Received: 2147483646" in told(capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ('{"agent": 3}', "is not a configuration: `agent` must be a dict, or null. Received: agent=3"),
        ('{"env": {"id": "CartPole-v1"}, "agent": {"class": "PPO"}}', "it has no seed"),
    ],
)
def test_run_folders_that_are_none(content, message, tmp_path, capsys):
    (tmp_path / "config.json").write_text(content)
    for command in (["evaluate"], ["plot"], ["train", "--resume"], ["visualize", "--outdir", "videos"]):
        assert main([*command, str(tmp_path)]) == 2
        assert message in told(capsys)


def test_configuration_files_that_are_none(tmp_path, capsys):
    path = tmp_path / "mine.json"
    assert main(["train", "--config", str(path)]) == 2
    assert f"{path} cannot be read as JSON: [Errno 2] No such file or directory" in told(capsys)
    path.write_text('{"agnet": {}}')
    assert main(["train", "--config", str(path)]) == 2
    assert "`agent.class` must be one of" in told(capsys)


def test_checkpoints_that_are_none(copy, tmp_path, capsys):
    best = copy / "best.keras"
    content = best.read_bytes()
    inputs = keras.Input((4,))
    for write, message in (
        (lambda: best.write_bytes(content[:5000]), "it is truncated, or not a .keras file"),
        (lambda: best.write_bytes(b"garbage" * 1000), "it is truncated, or not a .keras file"),
        (lambda: keras.Model(inputs, keras.layers.Dense(2)(inputs)).save(best), "holds a Functional, not an agent"),
        (lambda: keras.Model(inputs, keras.layers.Lambda(lambda x: x)(inputs)).save(best), "safe_mode=False"),
        (best.unlink, "has final.keras"),
    ):
        write()
        for command in (["evaluate"], ["visualize", "--outdir", str(tmp_path / "videos")]):
            assert main([*command, str(copy)]) == 2
            assert message in told(capsys)
    assert main(["evaluate", str(copy), "--checkpoint", "elsewhere.keras"]) == 2
    assert "There is no elsewhere.keras" in told(capsys)


def test_a_file_is_one_agent_and_has_no_checkpoints(copy, capsys):
    for command in ("evaluate", "play"):
        assert main([command, str(copy / "final.keras"), "--checkpoint", "nothing.keras"]) == 2
        assert "--checkpoint chooses an agent of a run folder" in told(capsys)


def test_a_checkpoint_of_another_environment(copy, tmp_path, capsys):
    change(copy, env={"id": "tf/Pendulum-v1"})
    for command in (["evaluate"], ["visualize", "--outdir", str(tmp_path / "videos")]):
        assert main([*command, str(copy)]) == 2
        assert "must have the observation_space that the agent was built for" in told(capsys)


def test_an_environment_that_cannot_be_drawn(copy, tmp_path, capsys):
    change(copy, env={"id": "tf/Recall-v0"})
    assert main(["visualize", str(copy), "--outdir", str(tmp_path / "videos")]) == 2
    assert "tf/Recall-v0" in told(capsys)


def test_backups_that_do_not_fit(copy, capsys):
    weights = copy / "backup" / "latest.weights.h5"
    content = weights.read_bytes()
    for spoil, message in (
        (lambda: weights.write_bytes(content[:5000]), "its backup cannot be restored"),
        (lambda: change(copy, network={"builder": "feed_forward", "units": [8]}), "could not be loaded"),
        (lambda: change(copy, network={"units": [64, 64]}, env={"num_envs": 8}), "`num_envs` that it was started with"),
    ):
        spoil()
        assert main(["train", "--resume", str(copy), "--epochs", "9"]) == 2
        text = told(capsys)
        assert f"{copy} cannot be resumed: " in text
        assert message in text
        weights.write_bytes(content)


def test_a_log_that_is_none(copy, capsys):
    (copy / "log.csv").write_text("some notes\nof mine\n")
    assert main(["train", "--resume", str(copy), "--epochs", "9"]) == 2
    assert "is not a log of epochs: it begins with 'some notes'" in told(capsys)
    assert (copy / "log.csv").read_text() == "some notes\nof mine\n"
    assert main(["plot", str(copy)]) == 2
    told(capsys)


def test_folders_that_cannot_be_written_to(copy, tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    for command in ([*TRAIN, "--logdir"], ["visualize", str(copy), "--outdir"]):
        assert main([*command, str(file)]) == 1
        assert str(file) in told(capsys)
    assert main(["plot", str(copy), "--out", str(file / "curve.png")]) == 1
    assert str(file) in told(capsys)


def test_a_full_disk_says_how_to_go_on(copy, capsys, monkeypatch):
    def full(logs):
        raise OSError(errno.ENOSPC, "No space left on device", str(copy))

    full_disk = keras.callbacks.LambdaCallback(on_train_begin=full)
    monkeypatch.setattr(training, "_recorders", lambda *arguments: [full_disk])
    assert main(["train", "--resume", str(copy), "--epochs", "4"]) == 2
    text = told(capsys)
    assert "No space left on device" in text
    assert f"To continue: keras-rl-prob train --resume {copy}" in text


def test_bugs_are_tracebacks(copy, monkeypatch):
    def bug(config):
        raise ValueError("a bug")

    monkeypatch.setattr(evaluate.runs, "load_agent", lambda *arguments: bug)
    with pytest.raises(AttributeError):
        main(["evaluate", str(copy)])
    monkeypatch.setattr(training, "_recorders", lambda *arguments: bug(None))
    with pytest.raises(ValueError, match="a bug"):
        main(["train", "--resume", str(copy), "--epochs", "4"])


def test_ctrl_c_outside_of_a_training_is_quiet(finished, capsys, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate.runs, "load_agent", interrupted)
    assert main(["evaluate", str(finished)]) == 130
    assert capsys.readouterr().err == ""


def test_the_module_of_a_run_is_named_before_it_is_imported(copy, capsys, monkeypatch, tmp_path):
    """And modules in the current folder are found, as with `python -m`."""
    (tmp_path / "poles_of_mine.py").write_text(
        "import gymnasium\nprint('imported')\n"
        "gymnasium.register('Pole-v7', 'gymnasium.envs.classic_control:CartPoleEnv', max_episode_steps=20)\n"
    )
    change(copy, env={"id": "poles_of_mine:Pole-v7", "kwargs": {}})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [path for path in __import__("sys").path if path not in ("", str(tmp_path))])
    assert main(["evaluate", str(copy), "--episodes", "2"]) == 0
    printed = capsys.readouterr().out
    named = f"{copy / 'config.json'} imports the module 'poles_of_mine' for its environment"
    assert 0 <= printed.index(named) < printed.index("imported\n", printed.index(named) + len(named))
    assert "mean return" in printed
