"""A program in a pseudo-terminal, whose keys a test presses."""

import os
import pathlib
import pty
import re
import select
import subprocess
import sys
import termios
import time

ROOT = pathlib.Path(__file__).parents[2]


class PseudoTerminal:
    """Runs Python with arguments in a terminal of 80 columns and 24 lines.

    Attributes:
        shown: Everything that the program has written, a str.
    """

    def __init__(self, *arguments, **environment):
        self.shown = ""
        self._fd, slave = pty.openpty()
        environment |= {"COLUMNS": "80", "LINES": "24", "SDL_VIDEODRIVER": "dummy", "PYTHONPATH": str(ROOT)}
        environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=os.environ | environment,
            start_new_session=True,
        )
        os.close(slave)

    def press(self, keys):
        os.write(self._fd, keys.encode())

    def wait_for(self, pattern, seconds=120):
        """Reads until the program has written something that matches; returns the match."""
        until = time.monotonic() + seconds
        while not (match := re.search(pattern, self.shown, re.DOTALL)):
            assert time.monotonic() < until, f"no {pattern!r} in {self.shown[-2000:]!r}"
            assert self._read(), f"it ended without {pattern!r}: {self.shown[-2000:]!r}"
        return match

    def end(self):
        """Reads to the end of the program; returns its exit status."""
        while self._read():
            pass
        return self.process.wait()

    @property
    def echoes(self):
        """Whether the terminal shows what is typed and waits for whole lines, as usual."""
        flags = termios.tcgetattr(self._fd)[3]
        assert bool(flags & termios.ECHO) == bool(flags & termios.ICANON)
        return bool(flags & termios.ECHO)

    def _read(self):
        if not select.select([self._fd], [], [], 1)[0]:
            return True
        try:
            written = os.read(self._fd, 65536)
        except OSError:  # the program has closed the terminal
            written = b""
        self.shown += written.decode(errors="replace")
        return bool(written)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()
        os.close(self._fd)
