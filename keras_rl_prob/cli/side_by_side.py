"""Several runs at a time, each in a process of its own."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

OUTPUT = "output.txt"  # in the folder of the run
PAUSE = 0.1  # seconds between two looks at the processes
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def train(folders: Sequence[pathlib.Path], processes: int) -> int | None:
    """Trains the runs in these folders, or goes on with them; returns the signal that stopped it, or `None`.

    Each process is `keras-rl-prob train --resume FOLDER`, whose result is that of the same run by itself; what it prints is in
    `output.txt` of the folder. At a signal, and if one fails, the others end after their epoch, with everything saved; at a
    second signal all are killed. None is left when this function returns, or if this process is killed
    (`keras_rl_prob.cli.one_of_several`).

    Args:
        folders: Run folders.
        processes: How many train at a time.

    Raises:
        ChildProcessError: A run has failed; the text names it.
    """
    waiting, running = list(folders), dict[pathlib.Path, subprocess.Popen]()
    failed: tuple[pathlib.Path, int] | None = None
    with _ended(running), _Signals(running) as signals:
        while running or (waiting and not failed and not signals.received):
            while waiting and len(running) < processes and not failed and not signals.received:
                folder = waiting.pop(0)
                running[folder] = _started(folder)
                print(f"{folder.name}: training, output in {folder / OUTPUT}", flush=True)
            time.sleep(PAUSE)
            for folder, process in [(x, y) for x, y in running.items() if y.poll() is not None]:
                running.pop(folder).communicate()  # closes its input
                if process.returncode == 0:
                    print(f"{folder.name}: done", flush=True)
                elif not signals.received and not failed:
                    failed = folder, process.returncode
                    signals.pass_on()
    if failed and not signals.received:
        folder, status = failed
        raise ChildProcessError(
            f"The process of {folder.name} has ended with status {status}. Its last words: {_last_line(folder)!r}, all are in "
            f"{folder / OUTPUT}. To continue: keras-rl-prob experiment --resume {folder.parent}"
        )
    return signals.received


class _Signals:
    """Passes the first Ctrl-C or SIGTERM on to processes, as SIGTERM, and kills them at the second.

    Attributes:
        received: Number of the received signal, or `None`.
    """

    def __init__(self, running: dict[pathlib.Path, subprocess.Popen]) -> None:
        self.received: int | None = None
        self._running, self._usual = running, dict[int, Any]()

    def __enter__(self) -> "_Signals":
        with contextlib.suppress(ValueError):  # in another thread Python handles no signals
            self._usual = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._usual.items():
            signal.signal(number, handler)

    def pass_on(self, number: int = signal.SIGTERM) -> None:
        """Sends a signal to all processes that run."""
        for process in list(self._running.values()):
            process.send_signal(number)

    def _receive(self, number, frame):
        again, self.received = self.received is not None, number
        self.pass_on(signal.SIGKILL if again else signal.SIGTERM)
        if not again:
            os.write(
                2, b"\nStopping after the present epochs, with everything saved. Interrupt again to stop at once.\n"
            )


@contextlib.contextmanager
def _ended(running: dict[pathlib.Path, subprocess.Popen]) -> Iterator[None]:
    """Context manager after which no process is left, whatever was raised."""
    try:
        yield
    finally:
        for process in running.values():
            process.kill()
            process.communicate()


def started(arguments: Sequence[str], output: Any = None) -> subprocess.Popen:
    """Starts `keras-rl-prob` as a process of this program: apart from the terminal, and ended if this process is killed.

    Args:
        arguments: Those of the command line.
        output: File for what it prints; `None` for the output of this process.
    """
    paths = [path for path in [os.getcwd(), *os.environ.get("PYTHONPATH", "").split(os.pathsep)] if path]
    environment = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", **os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.Popen(  # noqa: S603 (this program)
        [sys.executable, "-m", "keras_rl_prob.cli.one_of_several", *arguments],
        stdin=subprocess.PIPE,  # to which nothing is written; it ends with this process
        stdout=output,
        stderr=output and subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )


def _started(folder):
    """A process that trains the run in a folder."""
    with (folder / OUTPUT).open("ab") as output:
        return started(["train", "--resume", os.fspath(folder)], output)


def _last_line(folder):
    lines = (folder / OUTPUT).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][-500:] if lines else ""
