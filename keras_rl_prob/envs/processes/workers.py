"""Worker processes of Gymnasium's `AsyncVectorEnv`: their exceptions are raised, and there is no endless waiting."""

import contextlib
import functools
import pathlib
import queue
import runpy
import time
from collections.abc import Callable
from multiprocessing import connection
from typing import Any

import gymnasium
from gymnasium.vector.async_vector_env import AsyncState

from keras_rl_prob import checks

REPORT = pathlib.Path(__file__).with_name("worker_report.py")
SECONDS_TO_REPORT = 10.0


class Workers:
    """Calls methods of a vector environment that has worker processes; if one of them fails, all are ended.

    Gymnasium itself waits forever for an exception that cannot be pickled, and for a worker that hangs.

    Args:
        vector_env: An `AsyncVectorEnv`, perhaps in wrappers.
        timeout: Seconds that all workers together may take for a step or a reset; `None` sets no limit.

    Attributes:
        blamed: After an exception, in which workers it was raised, as part of a sentence.
    """

    blamed = ""

    def __init__(self, vector_env: gymnasium.vector.VectorEnv, timeout: float | None = None) -> None:
        self._base: Any = vector_env.unwrapped
        self._timeout, self._prepared = timeout, False

    def call(self, method: Callable[..., Any], *args: Any) -> Any:
        """Calls `method`, which steps or resets the vector environment, with these arguments.

        Ctrl-C during the call ends the workers too, since it is not known which of them have answered.
        """
        try:
            if not self._prepared:
                self._prepare()
            return self._call(method, *args)
        except KeyboardInterrupt:
            with contextlib.suppress(KeyboardInterrupt):  # this process' own may follow that of a worker
                self.end()
            self.end()
            raise

    def _call(self, method, *args):
        base = self._base
        base.step_wait, base.reset_wait = (
            functools.partial(self._wait, wait) for wait in (base.step_wait, base.reset_wait)
        )
        try:
            return method(*args)
        finally:
            del base.step_wait, base.reset_wait

    def end(self) -> None:
        """Ends the processes in any state; the vector environment then counts as closed."""
        for process in self._base.processes:
            process.terminate()
        for process in self._base.processes:
            process.join(1.0)
            process.kill()
            process.join()
        for pipe in self._base.parent_pipes:
            if pipe is not None:
                pipe.close()
        self._base.closed = True

    def _prepare(self):
        """Makes each worker run `worker_report.py`, with a request that every worker answers: a query of its spaces."""
        base = self._base
        if base.closed or base._state is not AsyncState.DEFAULT:
            return  # its own error follows
        if not isinstance(base.error_queue, _Reports):  # else done in an earlier run
            base.error_queue = _Reports(base.error_queue)
        for pipe in base.parent_pipes:
            pipe.send(("_check_spaces", (base.observation_mode, base.single_observation_space, _Run())))
        self._wait(lambda: [pipe.recv() for pipe in base.parent_pipes])
        self._prepared = True

    def _wait(self, wait):
        """The result of `wait` after all workers have answered."""
        base = self._base
        try:
            if self._timeout is not None:
                end = time.monotonic() + self._timeout
                silent = [
                    i for i, pipe in enumerate(base.parent_pipes) if not pipe.poll(max(0.0, end - time.monotonic()))
                ]
                if silent:
                    raise TimeoutError(
                        f"Worker processes must answer within `timeout`={self._timeout} seconds. "
                        f"Received: nothing from {_numbered(silent)}"
                    )
            return wait()
        except queue.Empty:
            ended = [i for i, process in enumerate(base.processes) if not process.is_alive()]
            self.end()
            raise RuntimeError(
                "A worker process must report the exception that ended it. "
                f"Received: nothing from {_numbered(ended)}; see its standard error"
            ) from None
        except Exception as error:
            failed = self._failed()
            if failed and not isinstance(error, TimeoutError):
                pids = ", ".join(str(base.processes[i].pid) for i in failed)
                self.blamed = f", in {_numbered(failed)} (process {pids})"
            self.end()
            raise

    def _failed(self):
        """Numbers of the workers that have reported an exception or, if none has, that have died."""
        base = self._base
        reported = [i for i, pipe in enumerate(base.parent_pipes) if pipe is None]
        ended = [] if reported else connection.wait([process.sentinel for process in base.processes], 1.0)
        return reported or [i for i, process in enumerate(base.processes) if process.sentinel in ended]


class _Run:
    """Pickles to a call that runs `worker_report.py`, so that the worker need not import this package."""

    def __reduce__(self):
        return runpy.run_path, (str(REPORT), None, "__main__")


class _Reports:
    """The queue of the workers' exceptions, which Gymnasium reads after a worker has reported one."""

    def __init__(self, reports):
        self._reports = reports

    def get(self):
        """The next exception; raises `queue.Empty` if there is none in time."""
        return self._reports.get(timeout=SECONDS_TO_REPORT)


def workers_of(vector_env: gymnasium.vector.VectorEnv, timeout: float | None = None) -> Workers | None:
    """The `Workers` of a vector environment, or `None` if it has no worker processes managed by Gymnasium."""
    checks.number("timeout", timeout, above=0.0, none=True)
    if isinstance(getattr(vector_env, "unwrapped", None), gymnasium.vector.AsyncVectorEnv):
        return Workers(vector_env, timeout)
    if timeout is not None:
        raise ValueError(
            f"`timeout` must be None without worker processes of an AsyncVectorEnv. Received: timeout={timeout}"
        )
    return None


def _numbered(workers):
    return f"worker {', '.join(map(str, workers))}"
