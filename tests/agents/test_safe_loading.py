"""An untrusted `.keras` file runs no code and imports nothing."""

import json
import sys
import zipfile

import keras
import numpy as np
import pytest

import keras_rl_prob as krp


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A valid file."""
    agent = krp.PPO(krp.networks.feed_forward("tf/CartPole-v1", units=(4,)))
    agent.build("tf/CartPole-v1")
    path = tmp_path_factory.mktemp("saved") / "agent.keras"
    agent.save(path)
    return path


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """Name of a module that is on the path and that nothing may import."""
    (tmp_path / "foreign_code.py").write_text("class Box:\n    from_config = classmethod(lambda cls, config: cls())\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "foreign_code"
    imported = sys.modules.pop("foreign_code", None)
    assert imported is None


def tampered(saved, path, change):
    """A copy of the file whose configuration `change` has edited in place."""
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config)
            target.writestr(name, content)
    return path


def reference(module, kind="class_name"):
    """How Keras' configurations refer to a class."""
    return {"module": module, kind: "Box", "config": {}, "registered_name": None}


def test_the_copy_itself_is_sound(saved, tmp_path):
    agent = keras.saving.load_model(tampered(saved, tmp_path / "copy.keras", lambda config: None))
    assert isinstance(agent, krp.PPO)


def test_a_lambda_is_refused_unless_the_file_is_trusted(tmp_path):
    inputs = keras.Input((4,))
    x = keras.layers.Dense(4)(keras.layers.Lambda(lambda x: 2.0 * x)(inputs))
    network = keras.Model(inputs, {"action": krp.layers.DenseCategorical((2,))(x), "value": keras.layers.Dense(1)(x)})
    agent = krp.PPO(network)
    agent.build("tf/CartPole-v1")
    agent.save(tmp_path / "agent.keras")
    with pytest.raises(ValueError, match=r"Requested the deserialization of a `Lambda` layer .*`safe_mode=False`"):
        keras.saving.load_model(tmp_path / "agent.keras")
    loaded = keras.saving.load_model(tmp_path / "agent.keras", safe_mode=False)
    x = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(loaded(x)["action"], agent(x)["action"])


def in_spaces(space):
    def change(config):
        config["build_config"]["observation_space"] = space

    return change


def in_arguments(value):
    def change(config):
        config["config"]["discount"] = value

    return change


def in_network(config):
    config["config"]["network"]["config"]["layers"][0] |= reference("foreign_code")


@pytest.mark.parametrize(
    "change",
    [
        in_spaces({"type": "foreign_code.Box"}),
        in_spaces({"type": "foreign_code.Box", "shape": [4]}),
        in_spaces({"type": "Dict", "spaces": {"x": {"type": "foreign_code.Box", **reference("foreign_code")}}}),
        in_spaces({"type": "Box", "shape": [4], "dtype": "foreign_code.Box", "low": 0, "high": 1}),
        in_spaces(reference("foreign_code")),
        in_arguments(reference("foreign_code")),
        in_network,
    ],
)
def test_a_foreign_class_is_not_imported(saved, tmp_path, foreign, change):
    path = tampered(saved, tmp_path / "agent.keras", change)
    with pytest.raises((ValueError, TypeError, KeyError)):
        keras.saving.load_model(path)
    assert foreign not in sys.modules
