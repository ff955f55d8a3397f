"""`python -m keras_rl_prob.cli.one_of_several ARGUMENTS`: `keras-rl-prob` as a process of another program, ended with it.

Nobody can pass on a SIGKILL of the program that started this one. But then the pipe ends that is standard input here, and this
process ends at once, with its workers: a run that is killed loses only the current epoch.
"""

import os
import signal
import sys
import threading

from keras_rl_prob.cli.program import main


def end_with_input() -> None:
    """Kills this process and its group, of which it is the leader, once standard input has ended."""

    def wait():
        while os.read(sys.stdin.fileno(), 1024):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    end_with_input()
    sys.exit(main())
