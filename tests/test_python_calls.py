"""Ctrl-C while a graph runs: a message soon, and a stop as soon as possible."""

import os
import pathlib
import select
import signal
import subprocess
import sys
import threading
import time

import pytest
import tensorflow as tf

from keras_rl_prob import python_calls
from keras_rl_prob.python_calls import interruptible

WORD = "Interrupted: stopping after the current compiled call."
TRAINING = pathlib.Path(__file__).with_name("agents") / "interrupted_training.py"


@pytest.fixture
def answering():
    """Handles Ctrl-C as in a terminal; processes in the background ignore it."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


@tf.function(autograph=False)
def call(seconds):
    """A graph that calls no Python function for this long."""
    end = tf.timestamp() + seconds
    return tf.while_loop(lambda now: now < end, lambda now: (tf.timestamp(),), (tf.timestamp(),))


def interrupted():
    """Gets Ctrl-C in Python code, which handles it immediately."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)


def interrupt(*after):
    """Sends Ctrl-C after each of these numbers of seconds."""
    for seconds in after:
        threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()


def test_a_word_answers_ctrl_c_during_a_training_under_xla():
    command = [sys.executable, str(TRAINING)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        killer = threading.Timer(120, child.kill)
        killer.start()
        try:
            assert child.stdout.readline() == b"begun\n"
            child.send_signal(signal.SIGINT)
            said, end = [], time.monotonic() + 20  # half a second, on an idle machine
            while WORD.encode() not in b"".join(said) and b"" not in said and time.monotonic() < end:
                if select.select([child.stderr], [], [], 0.1)[0]:
                    said.append(os.read(child.stderr.fileno(), 4096))
            assert WORD.encode() in b"".join(said)
            assert child.poll() is None
        finally:
            killer.cancel()
            child.kill()


def test_it_is_said_once_and_then_done(answering, capfd):
    call(0.0)
    started = time.monotonic()
    interrupt(0.3, 0.9, 1.2)
    with pytest.raises(KeyboardInterrupt), interruptible():
        call(2.0)
    assert 2.0 <= time.monotonic() - started < 8.0
    assert capfd.readouterr().err.count(WORD) == 1
    assert signal.set_wakeup_fd(-1) == -1


def test_nothing_is_said_where_it_ends_at_once(answering, capfd, monkeypatch):
    monkeypatch.setattr(python_calls, "PATIENCE", 5.0)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), interruptible():
        interrupted()
    assert time.monotonic() - started < 4.0
    assert WORD not in capfd.readouterr().err


def test_nothing_is_said_where_ctrl_c_means_something_else(capfd):
    came = []
    usual = signal.signal(signal.SIGINT, lambda *_: came.append(time.monotonic()))
    try:
        call(0.0)
        interrupt(0.1)
        with interruptible():
            call(1.5)
        assert came
    finally:
        signal.signal(signal.SIGINT, usual)
    assert WORD not in capfd.readouterr().err


def test_who_waits_for_signals_hears_of_them_afterwards(answering):
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    os.set_blocking(reads, False)
    signal.set_wakeup_fd(writes)
    try:
        with pytest.raises(KeyboardInterrupt), interruptible(), interruptible():
            interrupted()
        assert os.read(reads, 64) == bytes([signal.SIGINT])
    finally:
        assert signal.set_wakeup_fd(-1) == writes
        os.close(reads)
        os.close(writes)


def test_nothing_is_left_behind_and_it_costs_little():
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    started = time.perf_counter()
    for _ in range(100):
        with interruptible():
            pass
    assert time.perf_counter() - started < 1.0  # 0.01 s on an idle machine
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == files


def test_ctrl_c_that_meets_an_error_of_tensorflow_is_one():
    with pytest.raises(KeyboardInterrupt), python_calls.raising_as_itself():
        raise RuntimeError("MISMATCH of exception types: ORIGINAL UnknownError REPLACED BY KeyboardInterrupt: <EMPTY>")
    with pytest.raises(RuntimeError, match="MISMATCH"), python_calls.raising_as_itself():
        raise RuntimeError("MISMATCH of exception types: ORIGINAL UnknownError REPLACED BY ValueError: <EMPTY>")
