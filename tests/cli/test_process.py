"""The program as a separate process: SIGTERM, exit status, and no output of other libraries."""

import os
import signal
import subprocess
import sys

from cli_run import TRAIN, only, rows, same_state

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
            if line.startswith("Epoch 1/3"):
                process.send_signal(signal.SIGTERM)
        errors = process.stderr.read()
    run = only(tmp_path)
    assert process.returncode == 143
    assert printed[-1] == f"Stopped after epoch 1 of 3. To continue: keras-rl-prob train --resume {run}\n"
    assert errors.strip() == "Stopping after this epoch, with everything saved. Interrupt again to stop at once."
    assert len(rows(run)) == 1
    assert not (run / "final.keras").exists()

    assert main(["train", "--resume", str(run)]) == 0
    assert "Epoch 1/3" not in capsys.readouterr().out
    assert same_state(finished, run)
    assert rows(run) == rows(finished)
    assert same_state(finished, run)
