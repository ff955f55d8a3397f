"""The worker of `SeparateEnv`, run as a script: a Gymnasium environment controlled through a pipe."""

import os
import pathlib
import runpy
import sys
import time
from multiprocessing.connection import Connection

import gymnasium

REPORT = pathlib.Path(__file__).with_name("worker_report.py")


def parent_ends() -> None:
    """Waits until the process that has started this one has ended; then it has another parent."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1.0)


def main() -> None:
    """Answers `(method, args, kwargs)` with `(True, result)` or `(False, exception)` until the other end is closed."""
    commands, answers = (Connection(int(handle)) for handle in sys.argv[1:])
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")
    report = runpy.run_path(str(REPORT))
    env, who, portable = None, "The process", report["portable"]
    report["end_after"](parent_ends)
    while True:
        try:
            name, args, kwargs = commands.recv()
        except EOFError:
            return
        try:
            if name == "make":
                who = f"The process of {getattr(args[0], 'id', args[0])}"
                env = gymnasium.make(*args, **kwargs)
                result = env.observation_space, env.action_space, env.metadata, env.render_mode
            else:
                result = getattr(env, name)(*args, **kwargs)
            answers.send((True, result))
        except Exception as error:
            answers.send((False, portable(error, who)))


if __name__ == "__main__":
    main()
