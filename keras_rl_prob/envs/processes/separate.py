"""A Gymnasium environment in a separate process."""

import os
import pathlib
import subprocess
import sys
from multiprocessing.connection import Connection
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from keras_rl_prob.types import GymReset, GymStep

WORKER = pathlib.Path(__file__).with_name("separate_worker.py")


class SeparateEnv(gymnasium.Env):
    """An environment in a separate process without TensorFlow.

    For environments that do not work in the same process: MuJoCo renders with Mesa, which crashes if TensorFlow's copy of LLVM
    is loaded too.

    Args:
        spec: `EnvSpec` or id of the environment.
        **kwargs: More arguments for `gymnasium.make`.

    Raises:
        Exception: Exceptions of the environment, unchanged.
        RuntimeError: The process died, or the environment raised an exception that cannot be pickled; the message has its type
            and text.

    Example:
    >>> env = SeparateEnv("Pendulum-v1")
    >>> env.reset(seed=0)[0].shape
    (3,)
    >>> env.close()
    """

    def __init__(self, spec: str | EnvSpec, **kwargs: Any) -> None:
        reads_command, self._commands = _pipe()
        self._answers, writes_answer = _pipe()
        handles = reads_command.fileno(), writes_answer.fileno()
        command = [sys.executable, "-P", str(WORKER), *map(str, handles)]
        self._process = subprocess.Popen(command, pass_fds=handles)  # noqa: S603
        reads_command.close()
        writes_answer.close()
        try:
            made = self._call("make", spec, **kwargs)
        except Exception:
            self.close()
            raise
        self.observation_space, self.action_space, self.metadata, self.render_mode = made
        self.spec = gymnasium.spec(spec) if isinstance(spec, str) else spec

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> GymReset:
        """Resets the environment."""
        return self._call("reset", seed=seed, options=options)

    def step(self, action: Any) -> GymStep:
        """Steps the environment."""
        return self._call("step", action)

    def render(self) -> Any:
        """Draws the environment."""
        return self._call("render")

    def close(self) -> None:
        """Ends the process."""
        self._commands.close()
        self._answers.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _call(self, name, *args, **kwargs):
        try:
            self._commands.send((name, args, kwargs))
            succeeded, result = self._answers.recv()
        except (EOFError, OSError) as error:
            code = self._process.wait()
            raise RuntimeError(
                f"The process of the environment died in `{name}`. Received: exit code {code}"
            ) from error
        if not succeeded:
            raise result
        return result


def _pipe():
    """The read end and the write end of a pipe."""
    reads, writes = os.pipe()
    return Connection(reads, writable=False), Connection(writes, readable=False)
