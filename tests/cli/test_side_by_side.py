"""Runs side by side: the same as one after the other, errors that name the run, and no process left after signals."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from cli_run import SETTINGS, only, rows, state
from PIL import Image

from keras_rl_prob import presets
from keras_rl_prob.cli import configs, experiment, side_by_side
from keras_rl_prob.cli.commands import experiment as command
from keras_rl_prob.cli.errors import UserError

OBEYS = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(143)); print('up', flush=True); time.sleep(20)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(20)"


@pytest.fixture
def started(monkeypatch):
    """Sets the programs of the runs by the names of their folders; returns the list of their processes."""
    processes = []

    def use(programs):
        def start(folder):
            with (folder / side_by_side.OUTPUT).open("ab") as output:
                arguments = [sys.executable, "-c", programs[folder.name]]
                processes.append(
                    subprocess.Popen(arguments, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
                )
            return processes[-1]

        monkeypatch.setattr(side_by_side, "_started", start)
        return processes

    return use


def folders_of(tmp_path, count):
    made = [tmp_path / f"seed_{seed}" for seed in range(count)]
    for folder in made:
        folder.mkdir()
    return made


def wait_for(folders):
    """Waits until the programs of all runs have begun."""
    until = time.monotonic() + 120
    while not all(
        (x / side_by_side.OUTPUT).is_file() and "up" in (x / side_by_side.OUTPUT).read_text() for x in folders
    ):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_processes_train_what_one_after_the_other_does(experimented, tmp_path, capsys):
    config = presets.get("cartpole")
    for key, value in (SETTINGS | {"fit.epochs": "3"}).items():
        presets.assign(config, key, configs.value(value))
    returns = experiment(config, seeds=2, seed=4, episodes=4, processes=2, logdir=tmp_path, band="deviation")
    folder = only(tmp_path)
    assert list(returns) == [str(folder / "seed_4"), str(folder / "seed_5")]
    for name in ("seed_4", "seed_5"):
        # Bit by bit, were graphs optimised in this process as they are in others: see `shared_fixtures.py`.
        for x, y in zip(state(folder / name), state(experimented / name), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
        for row, other in zip(rows(folder / name), rows(experimented / name), strict=True):
            assert (row["env_steps"], row["return"]) == (other["env_steps"], other["return"])
        assert "Done." in (folder / name / "output.txt").read_text()
    printed = capsys.readouterr().out
    assert "seed_4: training, output in" in printed
    assert "mean return over 4 episodes" in printed
    assert Image.open(folder / "curve.png").size[0] > 800
    assert experiment(resume=folder, processes=2, episodes=4) == returns  # complete: only evaluated


def test_so_many_train_at_a_time(tmp_path, started):
    folders = folders_of(tmp_path, 5)
    program = "import time; print(time.monotonic(), flush=True); time.sleep(0.4); print(time.monotonic())"
    processes = started({folder.name: program for folder in folders})
    assert side_by_side.train(folders, 2) is None
    assert len(processes) == 5
    spans = [tuple(map(float, (x / side_by_side.OUTPUT).read_text().split())) for x in folders]
    at_once = [sum(begin <= moment < end for begin, end in spans) for moment, _ in spans]
    assert max(at_once) == 2


def test_a_run_that_fails_is_named_and_the_others_end(tmp_path, started):
    folders = folders_of(tmp_path, 3)
    processes = started({"seed_0": OBEYS, "seed_1": "import sys; print('disk full'); sys.exit(3)", "seed_2": OBEYS})
    with pytest.raises(ChildProcessError, match=r"process of seed_1 has ended with status 3\. .*'disk full'.*--resume"):
        side_by_side.train(folders, 2)
    assert [process.poll() for process in processes] in ([143, 3], [-15, 3])
    assert not (folders[2] / side_by_side.OUTPUT).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_and_a_second_one_kills(tmp_path, started, number, capfd):
    usual = signal.getsignal(number)
    folders = folders_of(tmp_path, 3)
    processes = started({"seed_0": OBEYS, "seed_1": STUBBORN, "seed_2": OBEYS})

    def send():
        wait_for(folders[:2])
        os.kill(os.getpid(), number)
        processes[0].wait(30)
        assert processes[1].poll() is None  # it finishes its epoch
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    assert side_by_side.train(folders, 2) == number
    sender.join()
    assert [process.poll() for process in processes] == [143, -9]
    assert signal.getsignal(number) == usual
    assert capfd.readouterr().err.count("Stopping after the present epochs") == 1


def test_no_process_is_left_if_anything_is_raised(tmp_path, started, monkeypatch):
    processes = started({"seed_0": OBEYS, "seed_1": STUBBORN})
    monkeypatch.setattr(side_by_side.time, "sleep", lambda seconds: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        side_by_side.train(folders_of(tmp_path, 2), 2)
    assert len(processes) == 2
    assert all(process.poll() is not None for process in processes)


PARENT = """
import pathlib, runpy, subprocess, sys

class Told(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        print(self.pid, flush=True)

subprocess.Popen = Told
runpy.run_path(sys.argv[1])["train"]([pathlib.Path(sys.argv[2])], 1)
"""


def test_a_kill_of_the_program_ends_its_processes(copy):
    """The child trains in earnest; the program around it is `side_by_side` alone, without TensorFlow."""
    config = json.loads((copy / "config.json").read_text())
    config["fit"]["epochs"] = 100_000
    (copy / "config.json").write_text(json.dumps(config))
    epochs = len(rows(copy))
    command = [sys.executable, "-c", PARENT, side_by_side.__file__, str(copy)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        child = next(int(line) for line in parent.stdout if line.strip().isdecimal())
        until = time.monotonic() + 120
        while len(rows(copy)) <= epochs:
            assert time.monotonic() < until, (copy / side_by_side.OUTPUT).read_text()
            time.sleep(0.1)
        assert runs_on(child)
        parent.kill()
    until = time.monotonic() + 60
    while runs_on(child) and time.monotonic() < until:
        time.sleep(0.05)
    left = runs_on(child)
    if left:
        os.kill(child, signal.SIGKILL)
    assert not left


def runs_on(process):
    """Whether a process is there and has not ended."""
    state = subprocess.run(["/bin/ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
    return state.stdout.strip()[:1] not in ("", "Z")


def test_a_signal_leaves_the_function_as_ctrl_c_does(experimented, monkeypatch, capsys):
    monkeypatch.setattr(command.training, "is_complete", lambda folder, config: False)
    monkeypatch.setattr(side_by_side, "train", lambda folders, processes: 15)
    with pytest.raises(KeyboardInterrupt, match="signal 15"):
        experiment(resume=experimented, processes=2)
    assert f"To continue: keras-rl-prob experiment --resume {experimented}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"config": "cartpole", "processes": 0}, r"`processes` must be a positive integer. Received: processes=0"),
        ({"config": "cartpole", "seeds": -1}, r"`seeds` must be a positive integer, or `None`. Received: seeds=-1"),
        (
            {"config": "cartpole", "band": "wide"},
            r"`band` must be one of \['range', 'deviation'\]. Received: band='wide'",
        ),
        ({}, r"Either `config` or `resume` must be given. Received: config=None, resume=None"),
        ({"config": "cartpol"}, "Did you mean 'cartpole'"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        experiment(**arguments)


def test_wrong_configurations_and_folders_leave_nothing(tmp_path):
    with pytest.raises(UserError, match=r"`agent.class` must be one of"):
        experiment({"env": {"id": "CartPole-v1"}, "agent": {"class": "PPOO"}}, logdir=tmp_path / "logs")
    assert not (tmp_path / "logs").exists()
    with pytest.raises(UserError, match="is not a run folder"):
        experiment(resume=tmp_path)
