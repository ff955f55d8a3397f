"""`RunLog`: every epoch once, in whatever state a killed process left the file."""

import csv
import os

import keras
import pytest

import keras_rl_prob as krp

TORN = "epoch,loss,return\r\n0,0.5,10.0\r\n1,0.4,20.0\r\n2,0.3,3"


def write(path, epochs, initial_epoch=0, rows=None, callback=None):
    """Writes the log of a training run from `initial_epoch`: rows `rows(epoch)`."""
    rows = rows or (lambda epoch: {"return": 100.0 + epoch, "loss": 1.0 / (epoch + 1)})
    callback = callback or krp.callbacks.RunLog(path)
    callback.on_train_begin()
    for epoch in range(initial_epoch, epochs):
        callback.on_epoch_end(epoch, rows(epoch))
    callback.on_train_end()
    return read(path)


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_for_each_epoch_in_a_folder_that_is_made(tmp_path):
    path = tmp_path / "a" / "b" / "log.csv"
    rows = write(path, 3)
    assert rows == [{"epoch": str(i), "loss": str(1.0 / (i + 1)), "return": str(100.0 + i)} for i in range(3)]
    assert path.read_text().splitlines()[0] == "epoch,loss,return"
    assert [entry.name for entry in path.parent.iterdir()] == ["log.csv"]


def test_every_row_is_in_the_file_when_its_epoch_ends(tmp_path):
    callback = krp.callbacks.RunLog(tmp_path / "log.csv")
    callback.on_train_begin()
    for epoch in range(3):
        callback.on_epoch_end(epoch, {"return": 1.0})
        assert len(read(tmp_path / "log.csv")) == epoch + 1


@pytest.mark.parametrize(
    "end", ["", "3,0.3", "3,0.3,5", "2,0.3,5", "3,0.3,5.0,7\r\n", "\x00\x00\x00", "\r\n", "x,0.3,5.0\r\n"]
)
def test_complete_rows_of_earlier_epochs_stay(tmp_path, end):
    path = tmp_path / "log.csv"
    write(path, 3)
    before = path.read_text()
    with path.open("a", newline="") as file:
        file.write(end)
    rows = write(path, 5, initial_epoch=3)
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert path.read_text().startswith(before)
    write(tmp_path / "whole.csv", 5)
    assert path.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_epochs_that_are_repeated_are_there_once(tmp_path):
    path = tmp_path / "log.csv"
    write(path, 5)
    rows = write(path, 4, initial_epoch=2, rows=lambda epoch: {"return": 7.0, "loss": 0.0})
    assert [row["return"] for row in rows] == ["100.0", "101.0", "7.0", "7.0"]


def test_a_training_from_the_start_begins_the_file_anew(tmp_path):
    path = tmp_path / "log.csv"
    write(path, 5, rows=lambda epoch: {"old": 1.0})
    assert [row["epoch"] for row in write(path, 2)] == ["0", "1"]
    assert "old" not in path.read_text()


@pytest.mark.parametrize("content", ["", "epo", "epoch", "epoch,loss,return", "epoch,loss,return\r\n"])
def test_a_file_without_rows(tmp_path, content):
    path = tmp_path / "log.csv"
    path.write_text(content, newline="")
    assert [row["epoch"] for row in write(path, 4, initial_epoch=2)] == ["2", "3"]
    assert path.read_text().count("epoch") == 1


def test_the_old_rows_stay_until_the_first_epoch_has_ended(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(TORN, newline="")
    callback = krp.callbacks.RunLog(path)
    callback.on_train_begin()
    assert path.read_bytes().decode() == TORN


def test_what_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "log.csv"
    path.write_text(TORN, newline="")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write(path, 3, initial_epoch=1)
    assert path.read_bytes().decode() == TORN
    assert [entry.name for entry in tmp_path.iterdir()] == ["log.csv"]


def test_entries_that_come_later_get_a_column(tmp_path):
    path = tmp_path / "log.csv"
    rows = write(path, 3, rows=lambda epoch: {"return": 1.0} | ({"val_return": 2.0} if epoch == 1 else {}))
    assert [row["val_return"] for row in rows] == ["NA", "2.0", "NA"]
    assert [row["return"] for row in rows] == ["1.0"] * 3


def test_a_resumed_run_keeps_the_columns_and_their_order(tmp_path):
    path = tmp_path / "log.csv"
    write(path, 1, rows=lambda epoch: {"z": 1.0, "val_return": 2.0})
    rows = write(path, 2, initial_epoch=1, rows=lambda epoch: {"a": 3.0, "z": 4.0})
    assert rows == [
        {"epoch": "0", "val_return": "2.0", "z": "1.0", "a": "NA"},
        {"epoch": "1", "val_return": "NA", "z": "4.0", "a": "3.0"},
    ]
    assert list(rows[0]) == ["epoch", "val_return", "z", "a"]


def test_one_object_serves_several_trainings(tmp_path):
    callback = krp.callbacks.RunLog(tmp_path / "log.csv")
    write(tmp_path / "log.csv", 2, callback=callback)
    rows = write(tmp_path / "log.csv", 4, initial_epoch=2, callback=callback)
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["epoch"] for row in write(tmp_path / "log.csv", 1, callback=callback)] == ["0"]


@pytest.mark.parametrize("content", [b"a,b\r\n1,2\r\n", b"dear diary", b"\x89HDF\r\n\x1a\n\xff\xfe"])
def test_other_files_are_refused_before_the_training_and_left_alone(tmp_path, content):
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"`path` must be a new file, or a CSV log of epochs.*Received: path='.*log.csv'"
    ):
        krp.callbacks.RunLog(path).on_train_begin()
    assert path.read_bytes() == content


def test_an_unwritable_folder_shows_before_the_training(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        krp.callbacks.RunLog(tmp_path / "file" / "log.csv").on_train_begin()


def test_a_killed_and_resumed_run_has_each_epoch_once(tmp_path):
    """With `BackupAndRestore`; the run ends after the epoch's row has been written, but before its backup."""
    log, backup = tmp_path / "log.csv", keras.callbacks.BackupAndRestore(tmp_path / "backup")

    class PowerCut(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                raise RuntimeError("power cut")

    def run(*callbacks):
        env = "tf/CartPole-v1"
        agent = krp.PPO(krp.networks.feed_forward(env, units=(8,)), rollout_steps=16, minibatches=2, update_epochs=1)
        agent.compile(run_eagerly=True)
        agent.build(env)
        callbacks = [krp.callbacks.RunLog(log), *callbacks, backup]
        agent.fit(env, epochs=4, steps_per_epoch=4, num_envs=4, seed=0, verbose=0, callbacks=callbacks)
        return agent.history

    with pytest.raises(RuntimeError, match="power cut"):
        run(PowerCut())
    before = read(log)
    with log.open("a", newline="") as file:
        file.write("3,0.0,0.1")
    resumed = run()
    assert resumed.epoch == [2, 3]
    after = read(log)
    assert [row["epoch"] for row in after] == ["0", "1", "2", "3"]
    for row in (*before, *after):
        del row["env_steps_per_second"]
    assert after[:3] == before, "native environments repeat an epoch exactly"
    assert [row["loss"] for row in after[2:]] == [str(value) for value in resumed.history["loss"]]
