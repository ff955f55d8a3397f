"""Python functions called from graphs; their exceptions come out unchanged instead of as errors of the graph."""

import collections
import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import tensorflow as tf

_RAISED: collections.deque[BaseException] = collections.deque(maxlen=8)
_THREAD = threading.local()
_SIGNALS: list[bytearray] = []  # during `interruptible`: those received since it began
NO_SIGNAL = bytes(1)
PATIENCE = 0.5  # seconds


class PythonCallError(Exception):
    """Error that a graph gets instead of an exception; `raising_as_itself` finds the exception by the number in the message."""


def call(function: Callable[..., Any], inputs: Sequence[tf.Tensor], dtypes: Sequence[tf.DType]) -> list[tf.Tensor]:
    """Calls a Python function when the graph runs, or immediately in eager mode.

    Args:
        function: Callable that takes and returns arrays; `raising_as_itself` raises its exceptions.
        inputs: List of tensors.
        dtypes: List of the dtypes of its outputs.

    Returns:
        List of tensors of unknown shape.
    """
    if tf.executing_eagerly():
        outputs = function(*map(np.array, inputs))
        flat = outputs if isinstance(outputs, list | tuple) else [outputs]
        return [tf.convert_to_tensor(x, dtype) for x, dtype in zip(flat, dtypes, strict=True)]

    def guarded(*args):
        _keep_thread_state()
        try:
            raise_if_interrupted()
            return function(*args)
        except BaseException as error:  # TensorFlow would take a StopIteration as the end of the data
            _RAISED.append(error)
            raise PythonCallError(f"{type(error).__name__}: {error} (raised {id(error)})") from error

    outputs = tf.numpy_function(guarded, inputs, dtypes)
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Lets Ctrl-C stop a graph at its next call of a Python function; prints a message if there is none for a while.

    Python handles signals in the main thread, which is waiting for the graph. But it writes the number of each signal to the
    wakeup file descriptor immediately.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    received, ended = bytearray(), threading.Event()
    listener = threading.Thread(target=_listen, args=(reads, received, ended), daemon=True)
    listener.start()
    before, outer = signal.set_wakeup_fd(writes, warn_on_full_buffer=False), _SIGNALS[:]
    _SIGNALS[:] = [received]
    try:
        yield
    finally:
        _SIGNALS[:] = outer
        signal.set_wakeup_fd(before)
        ended.set()
        os.write(writes, NO_SIGNAL)
        listener.join()
        os.close(writes)
        os.close(reads)
        if before != -1 and received:
            os.write(before, received)  # passes the signals on to the previous descriptor


def _listen(reads, received, ended):
    """Collects signals; prints a message after the first Ctrl-C, unless everything ends within `PATIENCE` seconds."""
    told, signals = False, b""
    while NO_SIGNAL not in signals:
        signals = os.read(reads, 64)
        received.extend(signals.replace(NO_SIGNAL, b""))
        if not told and _is_interrupted(received) and not ended.wait(PATIENCE):
            told = True
            sys.stderr.write("\nInterrupted: stopping after the current compiled call.\n")
            sys.stderr.flush()


def _is_interrupted(received):
    """Whether these signals make the main thread raise a `KeyboardInterrupt`, as soon as it can."""
    return signal.SIGINT in received and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def raise_if_interrupted() -> None:
    """Raises a `KeyboardInterrupt` if the main thread is about to raise one."""
    if _SIGNALS and _is_interrupted(_SIGNALS[0]):
        _SIGNALS[0].clear()
        raise KeyboardInterrupt


class raising_as_itself(contextlib.AbstractContextManager):
    """Context manager that raises an exception of a function of `call` unchanged, instead of the graph's error.

    It is not a generator, because Python does not let generators raise a `StopIteration`.
    """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Replaces the graph's error with the exception that caused it."""
        if isinstance(error, KeyboardInterrupt):
            _RAISED.clear()
        if isinstance(error, tf.errors.OpError | RuntimeError):  # RuntimeError: Ctrl-C during an error of TensorFlow's
            for raised in reversed(_RAISED):
                if f"(raised {id(raised)})" in str(error) or isinstance(raised, KeyboardInterrupt):
                    _RAISED.remove(raised)
                    raise raised from None
            if "REPLACED BY KeyboardInterrupt" in str(error):  # TensorFlow's own error is lost
                _RAISED.clear()
                raise KeyboardInterrupt from None


def _keep_thread_state():
    """Keeps the Python thread state of the calling TensorFlow thread for its next call.

    Python creates it when such a thread enters and deletes it when the thread leaves, which takes 0.02 ms, a fifth of a step of
    CartPole.
    """
    if not hasattr(_THREAD, "kept"):
        _THREAD.kept = ctypes.pythonapi.PyGILState_Ensure()  # never released: the state lasts as long as the thread
