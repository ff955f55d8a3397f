"""The other side of `SeparateEnv`, run as a script: a Gymnasium environment that obeys what comes through a pipe."""

import os
import sys
from multiprocessing.connection import Connection

import gymnasium


def main():
    """Answers `(method, args, kwargs)` with `(True, result)` or `(False, exception)` until the other side has gone."""
    commands, answers = (Connection(int(handle)) for handle in sys.argv[1:])
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")
    env = None
    while True:
        try:
            name, args, kwargs = commands.recv()
        except EOFError:
            return
        try:
            if name == "make":
                env = gymnasium.make(*args, **kwargs)
                result = env.observation_space, env.action_space, env.metadata, env.render_mode
            else:
                result = getattr(env, name)(*args, **kwargs)
            answer = True, result
        except Exception as error:
            answer = False, error
        answers.send(answer)


if __name__ == "__main__":
    main()
