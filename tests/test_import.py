"""What `import keras_rl_prob` does and does not do, in fresh processes."""

import json
import os
import platform
import subprocess
import sys

import gymnasium
import pytest

import keras_rl_prob as krp

OPTIONAL = (
    "PIL", "ale_py", "envpool", "gfootball", "gfootball_engine", "gym", "keras_tuner", "matplotlib", "moviepy",
    "pygame", "ray", "tensorboard", "torch",
)  # fmt: skip
LOADED = """
import gymnasium, json, keras, sys, tensorflow, tensorflow_probability, warnings
optional, asked = {optional}, []

refused, backend, keras.backend.backend = None, keras.backend.backend, lambda: "jax"
try:
    import keras_rl_prob
except ImportError as error:
    refused = str(error)
keras.backend.backend = backend

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in optional:
            asked.append(name)
            raise ModuleNotFoundError(name)

for name in [name for name in sys.modules if name.split(".")[0] in optional]:  # which Keras imported
    del sys.modules[name]
sys.meta_path.insert(0, Refuse())
known = set(gymnasium.registry)
with warnings.catch_warnings():
    warnings.simplefilter("error", UserWarning)
    import keras_rl_prob
    import keras_rl_prob.envs.games.gfootball
try:  # as a program limits the memory of a GPU
    cpu, halves = tensorflow.config.list_physical_devices("CPU")[0], [tensorflow.config.LogicalDeviceConfiguration()] * 2
    tensorflow.config.set_logical_device_configuration(cpu, halves)
    configured = len(tensorflow.config.list_logical_devices("CPU"))
except RuntimeError as error:
    configured = str(error)
print(json.dumps({{
    "configured": configured,
    "refused": refused,
    "asked": asked,
    "ids": sorted(set(gymnasium.registry) - known),
    "eager": tensorflow.executing_eagerly(),
    "loaded": sorted(name for name in sys.modules if name.startswith("keras_rl_prob")),
}}))
"""

BROKEN = """
import os, sys

class Break:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            os.write(2, b"no such instruction")
            raise ImportError("broken")

sys.meta_path.insert(0, Break())
import keras_rl_prob
"""


@pytest.fixture(scope="module")
def processes():
    """The programs, side by side: `(output, errors, return code)` of each."""
    sources = {"loaded": LOADED.format(optional=OPTIONAL), "broken": BROKEN}
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    environment["TF_CPP_MIN_LOG_LEVEL"] = "2"
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


def test_another_backend_is_refused_with_the_cure(loaded):
    assert loaded["refused"] == (
        "`keras_rl_prob` needs the TensorFlow backend: set the environment variable KERAS_BACKEND=tensorflow "
        "before Keras is imported. Received: keras.backend.backend()='jax'"
    )


def test_what_tensorflow_says_is_shown_if_it_cannot_be_imported(processes):
    """Otherwise it says nothing if told so: test_demo.py."""
    _, error, code = processes["broken"]
    assert code == 1
    assert "no such instruction" in error
    assert error.rstrip().splitlines()[-1] == "ImportError: broken"


def test_no_optional_library_is_imported(loaded):
    assert {"keras_rl_prob.callbacks.episodes.record_video", "keras_rl_prob.envs.games.gfootball"} <= set(
        loaded["loaded"]
    )
    assert loaded["asked"] == []


def test_programs_are_not_imported_and_execution_stays_eager(loaded):
    assert not [name for name in loaded["loaded"] if name.startswith("keras_rl_prob.cli")]
    assert loaded["eager"]


def test_devices_can_be_configured_after_the_import(loaded):
    assert loaded["configured"] == 2


def test_importing_registers_the_environments_and_nothing_else(loaded):
    football = [name for name in loaded["ids"] if name.startswith("krp/Football-")]
    assert len(football) == 19
    assert [name for name in loaded["ids"] if name not in football] == [
        "krp/AcrobotNoVel-v1",
        "krp/CartPoleNoVel-v1",
        "krp/MountainCarContinuousNoVel-v0",
        "krp/MountainCarNoVel-v0",
        "krp/PendulumNoVel-v1",
    ]
    assert set(loaded["ids"]) <= set(gymnasium.registry)


@pytest.mark.parametrize("part", ["callbacks", "distributions", "envs", "layers", "networks", "testing"])
def test_parts_are_there_after_the_one_import(loaded, part):
    assert f"keras_rl_prob.{part}" in loaded["loaded"]


def test_everything_listed_is_there():
    for name in krp.__all__:
        assert hasattr(krp, name), name
    assert krp.__version__.count(".") == 2


CONVOLUTIONS = """
import os, sys

class Look:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            print(os.environ.get("TF_ENABLE_ONEDNN_OPTS"))
            sys.exit()

sys.meta_path.insert(0, Look())
import keras_rl_prob
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="another kind of processor")
@pytest.mark.parametrize(("given", "seen"), [({}, "1"), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "0")])
def test_convolutions_are_those_of_onednn_unless_the_user_says_no(given, seen):
    env = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"} | given
    done = subprocess.run([sys.executable, "-c", CONVOLUTIONS], env=env, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == seen
