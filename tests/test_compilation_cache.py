"""What XLA compiles is kept for later processes; whatever happens to the cache, training goes on without it."""

import os
import pathlib
import subprocess
import sys
import warnings
import zlib

import pytest

from keras_rl_prob.startup import compilation_cache

PROGRAM = """
import keras_rl_prob
import tensorflow as tf
product = tf.function(lambda x: tf.linalg.matmul(x, x) + 1.0, jit_compile=True)
total = tf.function(lambda x: tf.reduce_sum(x) / 3.0, jit_compile=True)
print(float(total(product(tf.random.stateless_normal((3, 3), (0, 0))))))
"""


def run(program, **variables):
    """Runs a program in a new process; returns what it printed, and what it wrote to standard error."""
    found = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    return found.stdout, found.stderr


def entries_of(root):
    return sorted(path for path in root.glob("tensorflow-*/*") if path.is_file())


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Starts sessions in `tmp_path / "cache"` as if TensorFlow were not imported; ends them after the test."""
    monkeypatch.setenv(compilation_cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(compilation_cache.FLAGS, "")
    monkeypatch.delitem(sys.modules, "tensorflow")
    ends = []
    monkeypatch.setattr(compilation_cache.atexit, "register", lambda *call: ends.append(call))
    monkeypatch.setattr(compilation_cache.threading, "Thread", Now)
    yield lambda: (compilation_cache.start(), *ends[-1:])
    for end, *arguments in ends:
        end(*arguments)


class Now:
    """A thread that has run when it is made."""

    def __init__(self, target, args, daemon):
        target(*args)

    def start(self):
        """Does nothing more."""


def test_later_processes_load_what_the_first_compiled(tmp_path):
    variables = {compilation_cache.VARIABLE: str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    first, _ = run(PROGRAM, **variables)
    damaged, intact = entries_of(tmp_path)
    then = intact.stat().st_mtime_ns
    damaged.write_bytes(damaged.read_bytes()[:100])
    again, errors = run(PROGRAM, **variables)
    assert (again, errors) == (first, "")
    mended, left = entries_of(tmp_path)
    assert mended.stem == damaged.stem
    assert mended.stat().st_size > 100
    assert (left, left.stat().st_mtime_ns) == (intact, then)  # it was not compiled again
    assert not list((tmp_path / "sessions").iterdir())


def test_a_session_has_the_intact_entries_and_leaves_its_new_ones(start, tmp_path):
    session, (finish, *arguments) = start()
    (session / "a.pb").write_bytes(b"first")
    (session / "a.pbxyz.tmp").write_bytes(b"half")
    finish(*arguments)
    (entry,) = entries_of(tmp_path / "cache")
    assert entry.name == f"a.pb.{zlib.crc32(b'first'):08x}"
    assert entry.read_bytes() == b"first"
    assert not session.exists()
    second, _ = start()
    assert (second / "a.pb").read_bytes() == b"first"
    assert os.environ[compilation_cache.FLAGS] == f"{compilation_cache.FLAG}{second}"  # the first is no longer in it


@pytest.mark.parametrize("damage", [b"", b"firsT", b"first "])
def test_damaged_entries_are_removed(start, tmp_path, damage):
    session, (finish, *arguments) = start()
    (session / "a.pb").write_bytes(b"first")
    finish(*arguments)
    entries_of(tmp_path / "cache")[0].write_bytes(damage)
    second, _ = start()
    assert not (second / "a.pb").exists()
    assert not entries_of(tmp_path / "cache")


def test_the_oldest_entries_make_room(start, tmp_path, monkeypatch):
    monkeypatch.setattr(compilation_cache, "LARGEST", 25)
    for index in range(4):
        session, (finish, *arguments) = start()
        (session / f"{index}.pb").write_bytes(bytes(10))
        os.utime(session / f"{index}.pb", (index, index))
        finish(*arguments)
    assert [entry.name[:1] for entry in entries_of(tmp_path / "cache")] == ["2", "3"]


def test_two_processes_keep_the_same_entry_once(start, tmp_path):
    (one, (finish, *first)), (two, (_, *second)) = start(), start()
    (one / "a.pb").write_bytes(b"one")
    (two / "a.pb").write_bytes(b"two")
    finish(*first)
    finish(*second)
    assert [entry.read_bytes() for entry in entries_of(tmp_path / "cache")] == [b"one"]


def test_a_forked_process_leaves_the_session_alone(start):
    session, (finish, *arguments) = start()
    finish(*arguments[:-1], os.getpid() + 1)
    assert session.exists()


def test_old_sessions_are_removed(start, tmp_path):
    start()
    old, new = (tmp_path / "cache" / "sessions" / name for name in ("1-old", "2-new"))
    old.mkdir()
    new.mkdir()
    os.utime(old, (0, 0))
    start()
    assert [path.exists() for path in (old, new)] == [False, True]


def test_file_systems_without_links(start, tmp_path, monkeypatch):
    session, (finish, *arguments) = start()
    (session / "a.pb").write_bytes(b"first")
    finish(*arguments)
    monkeypatch.setattr(compilation_cache.os, "link", lambda *_: (_ for _ in ()).throw(OSError))
    second, _ = start()
    assert (second / "a.pb").read_bytes() == b"first"
    assert len(list(second.iterdir())) == 1


def test_flags_of_the_user_stay(start, monkeypatch):
    monkeypatch.setenv(compilation_cache.FLAGS, "--tf_xla_auto_jit=1")
    session, _ = start()
    assert os.environ[compilation_cache.FLAGS] == f"--tf_xla_auto_jit=1 {compilation_cache.FLAG}{session}"
    monkeypatch.setenv(compilation_cache.FLAGS, f"{compilation_cache.FLAG}/theirs")
    assert compilation_cache.start() is None
    assert os.environ[compilation_cache.FLAGS] == f"{compilation_cache.FLAG}/theirs"


@pytest.mark.parametrize("value", ["", "0", "off", "OFF"])
def test_off(start, monkeypatch, value):
    monkeypatch.setenv(compilation_cache.VARIABLE, value)
    assert compilation_cache.start() is None
    assert not os.environ[compilation_cache.FLAGS]


def test_by_default_it_is_in_the_cache_of_the_user(start, monkeypatch, tmp_path):
    monkeypatch.delenv(compilation_cache.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    session, _ = start()
    assert session.parent == tmp_path / "xdg" / "keras_rl_prob" / "sessions"
    assert (tmp_path / "xdg" / "keras_rl_prob").stat().st_mode & 0o777 == 0o700
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv(compilation_cache.FLAGS, "")
    monkeypatch.setattr(pathlib.Path, "home", lambda: tmp_path / "home")
    assert start()[0].parent == tmp_path / "home" / ".cache" / "keras_rl_prob" / "sessions"
    monkeypatch.setattr(pathlib.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compilation_cache.start() is None


def open_to_all(root, monkeypatch):
    root.mkdir()
    root.chmod(0o777)


def of_another_user(root, monkeypatch):
    root.mkdir(mode=0o700)
    monkeypatch.setattr(compilation_cache.os, "getuid", lambda: root.stat().st_uid + 1)


def a_file(root, monkeypatch):
    root.write_text("")


def a_link(root, monkeypatch):
    (root.parent / "elsewhere").mkdir()
    root.symlink_to(root.parent / "elsewhere")


def full(root, monkeypatch):
    usage = compilation_cache.shutil.disk_usage("/")
    monkeypatch.setattr(compilation_cache.shutil, "disk_usage", lambda _: usage._replace(free=1000))


def not_writable(root, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError("Permission denied")

    monkeypatch.setattr(compilation_cache.tempfile, "mkdtemp", refuse)


@pytest.mark.parametrize("trouble", [open_to_all, of_another_user, a_file, a_link, full, not_writable])
def test_without_a_folder_of_its_own_there_is_no_cache(start, tmp_path, monkeypatch, trouble):
    trouble(tmp_path / "cache", monkeypatch)
    with pytest.warns(RuntimeWarning, match=f"{compilation_cache.VARIABLE} to another folder, or to off"):
        assert compilation_cache.start() is None
    assert not os.environ[compilation_cache.FLAGS]


def test_too_late(start, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    with pytest.warns(
        RuntimeWarning, match="TensorFlow was imported before `keras_rl_prob`: import `keras_rl_prob` first"
    ):
        assert compilation_cache.start() is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compilation_cache.start() is None  # it has been said
    assert not os.environ[compilation_cache.FLAGS]


def test_processes_that_another_one_started_say_nothing(start, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    monkeypatch.setenv(compilation_cache.FLAGS, f"{compilation_cache.FLAG}{tmp_path / 'cache' / 'sessions' / '1-x'}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compilation_cache.start() is None
    assert not (tmp_path / "cache").exists()
