"""`make demo`, shortened: every file that it should write exists and can be read."""

import os
import pathlib
import re
import subprocess
import sys

import keras
from PIL import Image

ROOT = pathlib.Path(__file__).parent.parent


def test_demo_leaves_what_it_promises(tmp_path):
    command = [sys.executable, ROOT / "docs/examples/demo.py", "--epochs", "1", "--folder", tmp_path]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=300, cwd=tmp_path, check=False, env=environment
    )
    assert run.returncode == 0, run.stderr
    assert re.search(r"^(Epoch )?1/1 ", run.stdout, re.MULTILINE)
    assert "100 episodes of krp/CartPoleNoVel-v1" in run.stdout
    assert run.stderr == "", "somebody else's words reach the user"
    assert Image.open(tmp_path / "curve.png").size[0] > 800
    assert Image.open(tmp_path / "episode.gif").n_frames > 5
    assert (
        keras.saving.load_model(tmp_path / "best.keras").evaluate("tf/CartPoleNoVel-v1", episodes=1, verbose=0)[0] > 5
    )
