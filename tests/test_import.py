"""What `import keras_rl_prob` does and does not do, in fresh processes."""

import json
import os
import subprocess
import sys

import gymnasium
import pytest

import keras_rl_prob as krp

OTHER_BACKEND = """
import keras
keras.backend.backend = lambda: "{backend}"
import keras_rl_prob
"""
LOADED = """
import gymnasium, json, sys, warnings
before = set(gymnasium.registry)
with warnings.catch_warnings():
    warnings.simplefilter("error", UserWarning)
    import keras_rl_prob
import tensorflow
print(json.dumps({
    "modules": sorted({name.split(".")[0] for name in sys.modules}),
    "ids": sorted(set(gymnasium.registry) - before),
    "eager": tensorflow.executing_eagerly(),
    "devices_initialized": tensorflow.python.eager.context.context()._initialized,
}))
"""


@pytest.fixture(scope="module")
def processes():
    """The three programs, side by side."""
    sources = {name: OTHER_BACKEND.format(backend=name) for name in ("jax", "torch")} | {"loaded": LOADED}
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    started = {
        name: subprocess.Popen(
            [sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        for name, source in sources.items()
    }
    return {name: (*process.communicate(timeout=120), process.returncode) for name, process in started.items()}


@pytest.fixture(scope="module")
def loaded(processes):
    out, error, code = processes["loaded"]
    assert code == 0, error
    return json.loads(out.splitlines()[-1])


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_is_refused_with_the_cure(processes, backend):
    _, error, code = processes[backend]
    assert code == 1
    assert error.rstrip().splitlines()[-1] == (
        "ImportError: `keras_rl_prob` needs the TensorFlow backend: set the environment variable KERAS_BACKEND=tensorflow "
        f"before Keras is imported. Received: keras.backend.backend()='{backend}'"
    )


@pytest.mark.parametrize(
    "library", ["matplotlib", "PIL", "moviepy", "ray", "keras_tuner", "torch", "ale_py", "envpool"]
)
def test_no_optional_library_is_imported(loaded, library):
    assert "keras_rl_prob" in loaded["modules"]
    assert library not in loaded["modules"]


def test_nothing_is_switched_on_or_off(loaded):
    assert loaded["eager"]


def test_importing_registers_the_environments_once(loaded):
    assert loaded["ids"] == [
        "krp/AcrobotNoVel-v1",
        "krp/CartPoleNoVel-v1",
        "krp/MountainCarContinuousNoVel-v0",
        "krp/MountainCarNoVel-v0",
        "krp/PendulumNoVel-v1",
    ]
    assert set(loaded["ids"]) <= set(gymnasium.registry)


def test_everything_promised_is_there():
    for name in krp.__all__:
        assert hasattr(krp, name), name
    assert krp.__version__.count(".") == 2
