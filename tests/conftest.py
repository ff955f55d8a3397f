"""What is set before any library is imported."""

import os

os.environ.setdefault("KERAS_RL_PROB_CACHE", "off")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault(
    "TF_ENABLE_ONEDNN_OPTS", "0"
)  # or graphs that are optimised, as in other processes, round differently
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # most of the time is compiling


def pytest_configure(config):
    """The process that only distributes tests does not import TensorFlow: it starts faster and stays small."""
    if config.getoption("dist", "no") == "no":
        config.pluginmanager.import_plugin("shared_fixtures")
