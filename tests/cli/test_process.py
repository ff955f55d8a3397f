"""The program as a separate process: SIGTERM, exit status, no output of other libraries, and what needs no TensorFlow."""

import os
import re
import signal
import subprocess
import sys

import pytest
from cli_run import TRAIN, only, rows, same_state

import keras_rl_prob
from keras_rl_prob.cli import main


def test_sigterm_ends_after_the_epoch_and_resume_ends_where_an_uninterrupted_run_does(finished, tmp_path, capsys):
    command = [sys.executable, "-m", "keras_rl_prob", *TRAIN, "--epochs", "3", "--logdir", str(tmp_path)]
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        printed = []
        for line in process.stdout:
            printed.append(line)
            if re.match("(Epoch )?1/3 ", line):  # the end of the first epoch
                process.send_signal(signal.SIGTERM)
        errors = process.stderr.read()
    run = only(tmp_path)
    assert process.returncode == 143
    assert printed[-1] == f"Stopped after epoch 2 of 3. To continue: keras-rl-prob train --resume {run}\n"
    assert errors.strip() == "Stopping after this epoch, with everything saved. Interrupt again to stop at once."
    assert len(rows(run)) == 2
    assert not (run / "final.keras").exists()

    assert main(["train", "--resume", str(run)]) == 0
    assert " 2/3 " not in capsys.readouterr().out.replace("\n", " ")
    assert same_state(finished, run)
    assert rows(run) == rows(finished)
    assert same_state(finished, run)


STARTED = """
import os, runpy, sys

class Told:
    def find_spec(self, name, path=None, target=None):
        if name in ("tensorflow", "keras"):
            os.write(1, b"IMPORTED")
            os._exit(7)

sys.meta_path.insert(0, Told())
sys.path.insert(0, {folder!r})
sys.orig_argv = {orig!r}
sys.argv = {argv!r}
{start}
"""
MODULE = "runpy.run_module('keras_rl_prob', run_name='__main__', alter_sys=True)"
SCRIPT = "from keras_rl_prob.__main__ import main\nsys.exit(main())"


def started(*arguments, module=None, script=None):
    """Runs a program whose import of TensorFlow ends it with the status 7."""
    folder = os.path.dirname(os.path.dirname(keras_rl_prob.__file__))
    orig = ["python", "-m", module, *arguments] if module else ["python", script, *arguments]
    start = MODULE if module == "keras_rl_prob" else SCRIPT
    source = STARTED.format(folder=folder, orig=orig, argv=["-m" if module else script, *arguments], start=start)
    return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("how", [{"module": "keras_rl_prob"}, {"script": "/bin/keras-rl-prob"}], ids=str)
@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--help"], 0, "Start with"),
        (["--version"], 0, keras_rl_prob.__version__),
        (["list"], 0, "cartpole_novel"),
        (["train", "--help"], 0, "keras-rl-prob train CartPole-v1 --agent PPO"),
        ([], 2, "usage: keras-rl-prob [-h] [--version] COMMAND"),
        (["trian"], 2, "invalid choice: 'trian'"),
        (["train", "--epochs", "0"], 2, "usage: keras-rl-prob train "),
        (["train", "CartPole-v1", "PPO"], 2, "usage: keras-rl-prob train "),
        (["list", "all"], 2, "keras-rl-prob list: error: unrecognized arguments: all"),
    ],
)
def test_what_needs_no_tensorflow_is_answered_at_once(arguments, code, told, how):
    done = started(*arguments, **how)
    assert told in (done.stderr if code else done.stdout)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "how"),
    [
        (["evaluate", "run"], {"module": "keras_rl_prob"}),  # a command that needs it
        (["list"], {"module": "mine.training"}),  # other programs, which have arguments of their own
        (["--help"], {"script": "train.py"}),
    ],
)
def test_everything_else_imports_it_first(arguments, how):
    done = started(*arguments, **how)
    assert (done.stdout, done.returncode) == ("IMPORTED", 7)


def test_a_list_ends_quietly_where_nobody_reads_it():
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "keras_rl_prob", "list"], stdout=writer, stderr=subprocess.PIPE, check=True
        )
    finally:
        os.close(writer)
    assert not done.stderr
