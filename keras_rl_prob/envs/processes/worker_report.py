"""Run once by each worker process of an `AsyncVectorEnv`, as a script: lets all that an environment raises reach the parent."""

import functools
import traceback
from multiprocessing import queues
from multiprocessing.reduction import ForkingPickler


def main():
    """Looks at what is put into queues from now on."""
    put = queues.Queue.put
    if hasattr(put, "__wrapped__"):
        return

    @functools.wraps(put)
    def put_report(queue, item, *args, **kwargs):
        return put(queue, _portable(item), *args, **kwargs)

    queues.Queue.put = put_report


def _portable(item):
    """Gymnasium's report of an exception, as a `RuntimeError` if the exception itself would get lost; else the item."""
    if not isinstance(item, tuple) or len(item) != 4 or not isinstance(item[2], BaseException):
        return item
    index, kind, error, trace = item
    try:
        ForkingPickler.loads(ForkingPickler.dumps(item))
        kind(error)  # as the parent raises it
        return item
    except Exception as reason:
        text = "".join(traceback.format_exception_only(kind, error)).strip()
        said = f"Worker {index} raised {text} (a RuntimeError here: its exception cannot be pickled and rebuilt, as {reason})"
        return index, RuntimeError, said, trace


if __name__ == "__main__":
    main()
