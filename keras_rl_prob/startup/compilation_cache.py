"""Keeps what XLA compiles for later processes, which then start to learn in half the time.

TensorFlow reads and writes such a cache if `TF_XLA_FLAGS` names a folder, but a damaged entry, or one that another process
removes, is an error of the training. So each process has a folder of its own, a session, which is filled with links to intact
entries while TensorFlow is imported, and whose new entries are kept when the process ends. An entry is found again by a process
that defines the same functions in the same order, such as the next run of the same program; it is the same machine code.

The environment variable `KERAS_RL_PROB_CACHE` moves the cache to another folder, or is `off`. By default it is
`keras_rl_prob` in `XDG_CACHE_HOME`, or in `~/.cache`, with a folder for each version of TensorFlow and kind of processor.
"""

import atexit
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import shutil
import stat
import sys
import tempfile
import threading
import time
import warnings
import zlib

VARIABLE, FLAGS = "KERAS_RL_PROB_CACHE", "TF_XLA_FLAGS"
FLAG = "--tf_xla_persistent_cache_directory="
SESSIONS = "sessions"
LARGEST = 512 * 2**20  # bytes of all entries for a kind of processor; the oldest are removed
FREE = 2**30  # bytes that must be free on the disk, for a cache that cannot be written is an error of the training
STALE = 14 * 86_400  # seconds after which the session of a process that was killed is removed


def start() -> pathlib.Path | None:
    """Starts a session, unless the cache is off, `TF_XLA_FLAGS` names another, or TensorFlow is imported already (said once).

    Returns:
        The folder of the session, or `None`.
    """
    root = _root()
    if root is None:
        return None
    flags = os.environ.get(FLAGS, "").split()
    inherited = [x for x in flags if x.startswith(f"{FLAG}{root / SESSIONS}")]  # of the process that started this one
    flags = [x for x in flags if x not in inherited]
    if any(x.startswith(FLAG) for x in flags):
        return None
    if "tensorflow" in sys.modules:
        if not inherited and _is_first_time(root):
            warnings.warn(
                "What XLA compiles is not kept for later processes, for TensorFlow was imported before `keras_rl_prob`: import "
                f"`keras_rl_prob` first, or set {VARIABLE}=off.",
                RuntimeWarning,
                stacklevel=2,
            )
        return None
    try:
        entries = _private(root) / _machine()
        for folder in (entries, root / SESSIONS):
            folder.mkdir(mode=0o700, exist_ok=True)
        if shutil.disk_usage(root).free < FREE:
            raise OSError(f"less than {FREE:,} bytes are free")
        session = pathlib.Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=root / SESSIONS))
    except OSError as error:
        warnings.warn(
            f"What XLA compiles is not kept for later processes: {error}. Set {VARIABLE} to another folder, or to off. "
            f"Received: {root}",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    os.environ[FLAGS] = " ".join([*flags, f"{FLAG}{session}"])
    threading.Thread(target=fill, args=(session, entries), daemon=True).start()
    atexit.register(finish, session, entries, os.getpid())
    return session


def fill(session: pathlib.Path, entries: pathlib.Path) -> None:
    """Links the intact entries into a session, and removes damaged ones and old sessions."""
    for entry in _by_age(entries):
        name, _, checksum = entry.name.rpartition(".")
        try:
            if checksum != _checksum(entry):
                entry.unlink()
            elif not (session / name).exists():
                _link(entry, session / name)
        except OSError:  # another process has removed it, or this one ends
            continue
    for other in _by_age(session.parent):
        if time.time() - _modified(other) > STALE:
            shutil.rmtree(other, ignore_errors=True)


def finish(session: pathlib.Path, entries: pathlib.Path, process: int) -> None:
    """Keeps the new entries of a session, removes the oldest ones beyond `LARGEST`, and ends the session.

    Args:
        session: Folder of the session.
        entries: Folder of the entries, whose names end in a checksum.
        process: The process that started the session; in others, forked from it, nothing happens.
    """
    if os.getpid() != process:
        return
    known = {entry.name.rpartition(".")[0] for entry in _by_age(entries)}
    for new in session.glob("*.pb"):
        try:
            if new.name not in known:
                new.rename(entries / f"{new.name}.{_checksum(new)}")
        except OSError:
            continue
    kept = 0
    for entry in reversed(_by_age(entries)):
        kept += _size(entry)
        if kept > LARGEST:
            entry.unlink(missing_ok=True)
    shutil.rmtree(session, ignore_errors=True)


def _root():
    """The folder of the cache, or `None` if it is off or the user has no home."""
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        return None if chosen.lower() in ("", "0", "off") else pathlib.Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (pathlib.Path(base) if base else pathlib.Path.home() / ".cache") / "keras_rl_prob"
    except RuntimeError:
        return None


def _private(root):
    """Creates a folder that only this user can read; raises an `OSError` if it is someone else's or open to others."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{root} is not a folder")
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o022):
        raise PermissionError("the folder belongs to another user, or others can write to it")
    return root


def _is_first_time(root):
    """Whether nobody has been told yet; a file in the cache notes it."""
    try:
        (_private(root) / "told").touch(mode=0o600, exist_ok=False)
    except OSError:  # it is there, or cannot be
        return False
    return True


def _machine():
    """Name of the folder for this version of TensorFlow, its settings and this kind of processor."""
    about = pathlib.Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else [platform.processor()]
    settings = [f"{name}={os.environ.get(name)}" for name in ("XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS")]
    kind = settings + sorted(
        {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))} or lines
    )
    digest = hashlib.sha256("\n".join(kind).encode()).hexdigest()[:12]
    try:
        version = importlib.metadata.version("tensorflow")
    except importlib.metadata.PackageNotFoundError:  # a build with another name
        version = "unknown"
    return f"tensorflow-{version}-{platform.machine()}-{digest}"


def _checksum(path):
    return f"{zlib.crc32(path.read_bytes()):08x}"


def _link(source, target):
    try:
        os.link(source, target)
    except OSError:  # the file system has no links
        part = target.with_suffix(".part")
        shutil.copyfile(source, part)
        part.rename(target)


def _by_age(folder):
    """The files and folders in a folder, oldest first; none if there is no such folder."""
    return sorted(folder.iterdir(), key=_modified) if folder.is_dir() else []


def _modified(path):
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _size(path):
    try:
        return path.lstat().st_size
    except OSError:
        return 0
