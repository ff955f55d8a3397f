"""Makes all exceptions of an environment in a separate process reach the parent process, with which the process ends.

Run once by each worker process of an `AsyncVectorEnv`, as a script; `separate_worker.py` takes functions from it.
"""

import functools
import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable
from multiprocessing import queues
from multiprocessing.reduction import ForkingPickler
from typing import Any


def main() -> None:
    """Replaces exceptions that are put into queues from now on."""
    queue_class: Any = queues.Queue
    put = queue_class.put
    if hasattr(put, "__wrapped__"):
        return
    parent: Any = multiprocessing.parent_process()
    end_after(parent.join)

    @functools.wraps(put)
    def put_report(queue, item, *args, **kwargs):
        return put(queue, _portable(item), *args, **kwargs)

    queue_class.put = put_report


def end_after(wait: Callable[[], Any]) -> None:
    """Ends this process once `wait`, called in a thread, has returned, even if the environment hangs."""

    def end():
        wait()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def portable(
    error: BaseException, who: str, rebuild: Callable[[BaseException], Any] = lambda error: error
) -> BaseException:
    """An exception, or a `RuntimeError` with its type and text if it cannot be pickled.

    Args:
        error: The exception.
        who: Where it was raised, for the message.
        rebuild: Function with which the parent rebuilds it.
    """
    try:
        rebuild(ForkingPickler.loads(ForkingPickler.dumps(error)))
        return error
    except Exception as reason:
        text = "".join(traceback.format_exception_only(type(error), error)).strip()
        lost = f"a RuntimeError here: its exception cannot be pickled and rebuilt, as {reason}"
        return RuntimeError(f"{who} raised {text} ({lost})")


def _portable(item):
    """Gymnasium's report of an exception, made portable; any other item unchanged."""
    if not isinstance(item, tuple) or len(item) != 4 or not isinstance(item[2], BaseException):
        return item
    index, kind, error, trace = item
    told = portable(error, f"Worker {index}", kind)  # as the parent raises it
    return item if told is error else (index, RuntimeError, str(told), trace)


if __name__ == "__main__":
    main()
