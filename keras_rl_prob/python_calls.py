"""Python functions in graphs, whose exceptions come out as they were instead of as the failure of a graph."""

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
_SIGNALS: list[bytearray] = []  # those that came since `interruptible` began, while it lasts
NO_SIGNAL = bytes(1)
PATIENCE = 0.5  # seconds


class PythonCallError(Exception):
    """What a graph sees of an exception; `raising_as_itself` knows the exception by the number at its end."""


def call(function: Callable[..., Any], inputs: Sequence[tf.Tensor], dtypes: Sequence[tf.DType]) -> list[tf.Tensor]:
    """Calls a Python function when the graph runs; eagerly, at once.

    Args:
        function: Callable of arrays that returns arrays; whatever it raises, `raising_as_itself` raises.
        inputs: List of tensors.
        dtypes: List of the dtypes of what it returns.

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
            _raise_if_interrupted()
            return function(*args)
        except BaseException as error:  # TensorFlow takes a StopIteration for the end of the data
            _RAISED.append(error)
            raise PythonCallError(f"{type(error).__name__}: {error} (raised {id(error)})") from error

    outputs = tf.numpy_function(guarded, inputs, dtypes)
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Lets Ctrl-C end a graph at its next call of a Python function, and says so where a graph calls none for a while.

    Python handles signals in its main thread, which waits for the graph; but that one has come it writes to a file at once.
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
            os.write(before, received)  # whoever waits for signals hears of those that came meanwhile


def _listen(reads, received, ended):
    """Collects the signals that come; a word answers the first Ctrl-C, unless all is over in a moment."""
    told, signals = False, b""
    while NO_SIGNAL not in signals:
        signals = os.read(reads, 64)
        received.extend(signals.replace(NO_SIGNAL, b""))
        if not told and _is_interrupted(received) and not ended.wait(PATIENCE):
            told = True
            sys.stderr.write("\nInterrupted: it ends after the compiled call under way.\n")
            sys.stderr.flush()


def _is_interrupted(received):
    """Whether these signals let the main thread raise a `KeyboardInterrupt`, once it may."""
    return signal.SIGINT in received and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _raise_if_interrupted():
    """Raises a `KeyboardInterrupt` where the main thread is about to."""
    if _SIGNALS and _is_interrupted(_SIGNALS[0]):
        _SIGNALS[0].clear()
        raise KeyboardInterrupt


class raising_as_itself(contextlib.AbstractContextManager):
    """Raises what a function of `call` raised in a graph as it was.

    No generator: Python lets none of them raise a `StopIteration`.
    """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Takes the graph's error out of sight."""
        if isinstance(error, KeyboardInterrupt):
            _RAISED.clear()
        if isinstance(error, tf.errors.OpError | RuntimeError):  # the latter where Ctrl-C meets TensorFlow's own error
            for raised in reversed(_RAISED):
                if f"(raised {id(raised)})" in str(error) or isinstance(raised, KeyboardInterrupt):
                    _RAISED.remove(raised)
                    raise raised from None
            if "REPLACED BY KeyboardInterrupt" in str(error):  # which of TensorFlow's own errors it was is lost
                _RAISED.clear()
                raise KeyboardInterrupt from None


def _keep_thread_state():
    """Keeps what Python knows of the calling thread, one of TensorFlow's, for the next call.

    Python makes it when such a thread enters and throws it away when it leaves; 0.02 ms, a fifth of a step of CartPole.
    """
    if not hasattr(_THREAD, "kept"):
        _THREAD.kept = ctypes.pythonapi.PyGILState_Ensure()  # never released: nothing is left before the thread ends
