"""Files: atomic writes, symbolic links, file modes, and errors for files with missing entries."""

import os
import stat

import h5py
import pytest

import keras_rl_prob as krp
from keras_rl_prob.learning.persistence import write_whole


def content(text):
    return lambda path: path.write_text(text)


def test_a_link_beside_the_file_is_not_followed(tmp_path):
    (tmp_path / "secret").write_text("kept")
    for name in ("part.a.txt", "a.txt.part", ".a.txt"):
        (tmp_path / name).symlink_to(tmp_path / "secret")
    write_whole(tmp_path / "a.txt", content("new"))
    assert (tmp_path / "a.txt").read_text() == "new"
    assert (tmp_path / "secret").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.txt", "a.txt", "a.txt.part", "part.a.txt", "secret"]


def test_a_link_to_the_file_stays_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "real")
    write_whole(tmp_path / "link", content("new"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere" / "real").read_text() == "new"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_the_mode_stays(tmp_path, mode):
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(mode)
    write_whole(path, content("new"))
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_the_mode_of_new_files(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "a", content("new"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_stays(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    os.chown(path, 1234, 2345)
    write_whole(path, content("new"))
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    def broken(path):
        path.write_text("half")
        raise RuntimeError("disk")

    (tmp_path / "a").write_text("old")
    with pytest.raises(RuntimeError, match="disk"):
        write_whole(tmp_path / "a", broken)
    assert (tmp_path / "a").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.fixture(scope="module")
def agent():
    trained = krp.A2C(normalize_observations=True)
    trained.compile(run_eagerly=True)
    trained.fit("tf/CartPole-v1", num_envs=2, steps_per_epoch=1, verbose=0)
    return trained


LACKING = {
    "vars/0": "expected 2 variables, but received 1",
    "vars": "expected 2 variables, but received 0",
    "vars/training_0": r"lacks part of its training state. Missing: \['training_0'\]",
    "vars/training_epoch": r"lacks part of its training state. Missing: \['training_epoch'\]",
    "layers/running_normalization": "running_normalization.*expected 3 variables, but received 0",
    "layers/running_normalization/vars/1": "running_normalization.*expected 3 variables",
    "layers/functional/layers/dense": "Dense name=dense",
}


@pytest.mark.parametrize("entry", LACKING)
def test_weights_that_are_missing_from_a_file_are_named(agent, entry, tmp_path):
    path = tmp_path / "a.weights.h5"
    agent.save_weights(path)
    with h5py.File(path, "a") as file:
        del file[entry]
    with pytest.raises(ValueError, match=f"(?s){LACKING[entry]}"):
        agent.load_weights(path)


def test_an_optimizer_that_is_missing_from_a_file_is_said_to_be(agent, tmp_path):
    path = tmp_path / "a.weights.h5"
    agent.save_weights(path)
    with h5py.File(path, "a") as file:
        del file["optimizer"]
    with pytest.warns(UserWarning, match="optimizer.*because it has .* variables whereas the saved optimizer has 0"):
        agent.load_weights(path)
