import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("MUJOCO_GL", "egl")

import keras_rl_prob  # noqa: F401  # isort: skip  # before Keras: it keeps TensorFlow quiet

import keras
import pytest


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)
