"""A training run that was interrupted and resumed ends bit-identical to one that was not."""

import csv
import functools
import pathlib
import resource
import subprocess
import sys
import tempfile
from typing import NamedTuple

import keras
import numpy as np
import pytest

import keras_rl_prob as krp

ENV = "tf/CartPoleNoVel-v1"

SPEED = "env_steps_per_second"


class Cut(keras.callbacks.Callback):
    """Stops training in the middle of an epoch, as a crash would."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch, self.now = epoch, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch and batch > 5:
            raise RuntimeError("power cut")


def make_agent(seed=1, units=8):
    keras.utils.set_random_seed(seed)
    agent = krp.RecurrentPPO(
        krp.networks.recurrent(ENV, units=units, shared=True),
        rollout_steps=8,  # longer sequences are compiled with XLA: killed_training.py
        minibatches=2,
        update_epochs=2,
        normalize_observations=True,
        kl_penalty=krp.KLPenalty(),
    )
    agent.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
    return agent


@functools.cache
def new_agent(seed):
    """`make_agent(seed)`, built, and a folder with its weights."""
    agent, folder = make_agent(seed), tempfile.TemporaryDirectory()
    agent.build(ENV)
    agent.save_weights(f"{folder.name}/new.weights.h5")
    return agent, folder


def another_agent(seed=1):
    """Always the same agent, reset to what `make_agent(seed)` creates: its graphs are traced once."""
    agent, folder = new_agent(1)[0], new_agent(seed)[1]
    agent.load_weights(f"{folder.name}/new.weights.h5")
    keras.utils.set_random_seed(seed)
    return agent


def fit(agent, callbacks=(), env=ENV, num_envs=8, epochs=4, **kwargs):
    agent.fit(env, epochs=epochs, steps_per_epoch=8, num_envs=num_envs, verbose=0, callbacks=[*callbacks], **kwargs)
    return agent


def backup(folder):
    return keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)


class Whole(NamedTuple):
    """The results of an uninterrupted training run: its final numbers, its history, and the folder of its files."""

    numbers: dict
    history: dict
    folder: pathlib.Path


def numbers(agent):
    """All variables of an agent and its optimizer, by path."""
    return {f"{i} {x.path}": x.numpy() for i, x in enumerate((*agent.weights, *agent.optimizer.variables))}


def assert_same(whole, result):
    for (path, x), y in zip(whole.numbers.items(), result.values(), strict=True):
        assert np.array_equal(x, y), path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training run of four epochs, with a file after each of them."""
    folder = tmp_path_factory.mktemp("whole")
    files = folder / "{epoch}.keras", folder / "{epoch}.weights.h5"
    callbacks = [keras.callbacks.ModelCheckpoint(path, save_weights_only="h5" in path.name) for path in files]
    agent = fit(another_agent(), callbacks)
    return Whole(numbers(agent), agent.history.history, folder)


@pytest.fixture(scope="module")
def from_file(whole):
    """An agent from a file that was saved during training, and the result of continuing from it."""
    agent = fit(keras.saving.load_model(whole.folder / "2.keras"), initial_epoch=2, seed=99)
    return agent, agent.history.epoch, numbers(agent)


@pytest.fixture
def loaded(whole, from_file):
    """That agent as in the file, whatever other tests did with it; its graphs are traced once."""
    from_file[0].load_weights(whole.folder / "2.weights.h5")
    return from_file[0]


def with_backup(tmp_path, whole):
    """The folder of a `BackupAndRestore` that was interrupted after the second epoch."""
    folder = tmp_path / "backup"
    folder.mkdir()
    (folder / "latest.weights.h5").write_bytes((whole.folder / "2.weights.h5").read_bytes())
    return folder


def test_resumed_training_is_bit_identical(tmp_path, whole):
    with pytest.raises(RuntimeError, match="power cut"):
        fit(another_agent(), [backup(tmp_path / "backup"), Cut(2)])
    resumed = fit(another_agent(seed=99), [backup(tmp_path / "backup")])
    assert resumed.history.epoch == [2, 3]
    assert_same(whole, numbers(resumed))
    assert {k: v[2:] for k, v in whole.history.items() if k != SPEED} == {
        k: v for k, v in resumed.history.history.items() if k != SPEED
    }


def rows(path):
    """The lines of a log as dicts, without the speed."""
    with path.open(newline="") as file:
        return [{name: x for name, x in row.items() if name != SPEED} for row in csv.DictReader(file)]


@pytest.mark.parametrize("kills", [1, *(pytest.param(n, marks=pytest.mark.long) for n in (3, 10))])
def test_training_killed_several_times_is_bit_identical(tmp_path, kills):
    script = pathlib.Path(__file__).with_name("killed_training.py")
    run = subprocess.run(
        [sys.executable, script, tmp_path, str(kills), "7"], capture_output=True, text=True, timeout=600, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("killed after") == kills
    assert rows(tmp_path / "killed.csv") == rows(tmp_path / "whole.csv")
    assert (
        len((tmp_path / "whole.csv").read_text().splitlines()) == 7 * kills + 3
    )  # a header, and the epochs of `killed_training.py`
    killed, undisturbed = np.load(tmp_path / "killed.npz"), np.load(tmp_path / "whole.npz")
    assert len(undisturbed.files) > 30
    assert all(np.array_equal(killed[name], undisturbed[name]) for name in undisturbed.files)


@pytest.mark.parametrize("note", ['{"epoch": 1, "batch": 0}', '{"epo', None], ids=["old", "torn", "missing"])
def test_the_epoch_comes_from_the_weights(tmp_path, whole, note):
    folder = with_backup(tmp_path, whole)
    if note is not None:
        (folder / "training_metadata.json").write_text(note)
    agent = fit(another_agent(), [backup(folder)], epochs=2)
    assert agent.history.epoch == []
    assert int(agent.optimizer.iterations.numpy()) == 16


def test_a_note_without_weights_starts_anew(tmp_path):
    (tmp_path / "training_metadata.json").write_text('{"epoch": 3, "batch": 0}')
    assert fit(another_agent(), [backup(tmp_path)], epochs=1).history.epoch == [0]


def test_a_keras_file_saved_during_training_goes_on_exactly(whole, from_file):
    _, epochs, result = from_file
    assert epochs == [2, 3]
    assert_same(whole, result)


def test_the_number_of_the_epoch_is_the_users(whole, loaded):
    agent = fit(loaded, initial_epoch=6, epochs=7)
    assert agent.history.epoch == [6]
    assert agent.history.history["loss"] == whole.history["loss"][2:3]


def test_fit_goes_on_exactly_where_the_last_one_stopped(tmp_path, whole, loaded):
    agent = fit(another_agent(), epochs=2)
    agent.save(tmp_path / "agent.keras")
    assert_same(whole, numbers(fit(agent, initial_epoch=2)))
    keras.saving.load_model(tmp_path / "agent.keras").save_weights(tmp_path / "again.weights.h5")
    loaded.load_weights(tmp_path / "again.weights.h5")
    assert_same(whole, numbers(fit(loaded, initial_epoch=2)))


def test_without_initial_epoch_a_new_training_starts_from_the_weights(loaded):
    steps = int(loaded.env_steps.numpy())
    fit(loaded, num_envs=8, epochs=1, seed=5)
    assert loaded.history.epoch == [0]
    assert 100 < int(loaded.env_steps.numpy()) - steps <= 8 * 8 * 2


class Rewind(keras.callbacks.Callback):
    """Loads the weights of a file during training."""

    def __init__(self, path):
        super().__init__()
        self.path, self.actions = path, []

    def on_epoch_end(self, epoch, logs=None):
        self.model.load_weights(self.path)
        self.actions.append(self.model.last_rollout["action"])


def test_weights_loaded_in_the_middle_do_not_rewind_the_environments(whole):
    rewind = Rewind(whole.folder / "2.weights.h5")
    agent = fit(another_agent(), [rewind], epochs=4)
    assert agent.history.epoch == [0, 1, 2, 3]
    assert not np.array_equal(rewind.actions[2], rewind.actions[3])


@pytest.mark.parametrize("way", ["best weights", "load_weights"])
def test_what_was_played_stays_counted_when_weights_are_restored(tmp_path, way):
    """Later epochs are worse, so that the weights of the first are restored."""
    fall = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(val_return=-epoch))
    keep = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: epoch == 1 and agent.save_weights(tmp_path / "first.weights.h5"),
        on_train_end=lambda logs: agent.load_weights(tmp_path / "first.weights.h5"),
    )
    stop = keras.callbacks.EarlyStopping("val_return", patience=1, restore_best_weights=True)
    agent = another_agent()
    fit(agent, [fall, keep if way == "load_weights" else stop], epochs=2, seed=5)
    steps = agent.history.history["env_steps"]
    assert len(steps) == 2
    assert int(agent.env_steps.numpy()) == steps[1] > steps[0]
    restored = [x.numpy() for x in agent.network.weights]
    once = fit(another_agent(), epochs=1, seed=5)
    for x, y in zip(restored, once.network.weights, strict=True):
        np.testing.assert_array_equal(x, y.numpy())


def test_a_training_with_another_number_of_environments_is_refused(tmp_path, whole, loaded):
    with pytest.raises(ValueError, match=r"`num_envs` that it was started with.*Expected: 8. Received: 4"):
        fit(another_agent(), [backup(with_backup(tmp_path, whole))], num_envs=4)
    with pytest.raises(ValueError, match=r"`num_envs` that it was started with.*Expected: 8. Received: 4"):
        fit(loaded, num_envs=4, initial_epoch=2)
    with pytest.raises(ValueError, match="only with the environments that it was started with"):
        fit(loaded, env="krp/CartPoleNoVel-v1", initial_epoch=2)


def test_a_backup_of_another_network_is_refused(tmp_path, whole):
    with pytest.raises(ValueError, match="could not be loaded"):
        fit(make_agent(units=4), [backup(with_backup(tmp_path, whole))])


def test_a_truncated_file_is_refused(tmp_path, whole):
    for name in ("2.keras", "2.weights.h5"):
        content = (whole.folder / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(Exception, match=r"accessible `\.keras` zip file"):
        keras.saving.load_model(tmp_path / "2.keras")
    with pytest.raises(OSError, match="truncated"):
        make_built_agent().load_weights(tmp_path / "2.weights.h5")


def make_built_agent():
    agent = make_agent()
    agent.build(ENV)
    return agent


@pytest.mark.parametrize("name", ["agent.keras", "agent.weights.h5"])
def test_a_full_disk_leaves_the_file_before_it(tmp_path, name):
    agent = make_built_agent()
    save = agent.save if name.endswith("keras") else agent.save_weights
    save(tmp_path / name)
    before = (tmp_path / name).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save(tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / name).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [name]
    save(tmp_path / name)  # with HDF5 writing to the disk, this would crash
    agent.load_weights(tmp_path / name)


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        make_built_agent().save(tmp_path / "file" / "agent.keras")


def test_files_that_are_not_overwritten(tmp_path, monkeypatch):
    agent = make_built_agent()
    agent.save(tmp_path / "agent.keras")
    before = (tmp_path / "agent.keras").read_bytes()
    monkeypatch.setattr("builtins.input", lambda *_: "n")
    agent.save(tmp_path / "agent.keras", overwrite=False)
    assert (tmp_path / "agent.keras").read_bytes() == before


def test_with_python_environments_all_but_their_insides_is_restored(tmp_path):
    with pytest.raises(RuntimeError, match="power cut"):
        fit(another_agent(), [backup(tmp_path / "backup"), Cut(2)], env="krp/CartPoleNoVel-v1")
    resumed = fit(another_agent(), [backup(tmp_path / "backup")], env="krp/CartPoleNoVel-v1")
    assert resumed.history.epoch == [2, 3]
    assert int(resumed.optimizer.iterations.numpy()) == 32
    assert int(resumed.env_steps.numpy()) > 3.5 * 2 * 8 * 8
    with pytest.raises(ValueError, match="`num_envs` that it was started with"):
        fit(another_agent(), [backup(tmp_path / "backup")], env="krp/CartPoleNoVel-v1", num_envs=4)
