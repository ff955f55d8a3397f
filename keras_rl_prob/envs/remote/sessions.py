"""The environments of a server, one for each client."""

import dataclasses
import math
import secrets
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from keras_rl_prob import border, spaces
from keras_rl_prob.envs.remote.messages import portable

LAST_STEP = 5.0  # seconds in which an environment that is closed may finish its step


class Refused(Exception):
    """A request that is not answered, with the HTTP status and a sentence for the client."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclasses.dataclass
class Session:
    """An environment of a client.

    Attributes:
        env: The environment.
        number: The client's number of its last request.
        answer: The answer to it, in case that it is sent again because the connection broke.
        used: Time of the last request in seconds, of `time.monotonic`; infinite until the environment is made.
        lock: Held by the request that is being answered.
    """

    env: Any = None
    number: int = -1
    answer: Any = None
    used: float = math.inf
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)


class Sessions:
    """Opens, finds and closes sessions.

    Args:
        make: Function that makes a `gymnasium.Env`.
        most: Largest number of sessions.
        timeout: Seconds without a request after which a session is closed.
    """

    def __init__(self, make: Callable[[], gymnasium.Env], most: int, timeout: float) -> None:
        self._make, self._most, self._timeout = make, most, timeout
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._methods = {"reset": self._reset, "step": self._step, "render": self._render}

    def __len__(self) -> int:
        return len(self._sessions)

    def answer(self, method: str, message: Any) -> Any:
        """Answers a message `{"session": ..., "number": ..., ...}`; `"open"` and `"close"` need no number.

        Raises:
            Refused: The message is none of these, or there are too many sessions.
            Exception: What the environment raises.
        """
        if not isinstance(message, dict):
            raise Refused(400, f"A message must be a dict. Received: {type(message).__name__}")
        if method == "open":
            return self._open()
        key, number = message.get("session"), message.get("number")
        session = self._sessions.get(key) if isinstance(key, str) else None
        if session is None:
            raise Refused(404, "There is no such session: it was closed, or had no request for too long")
        if method == "close":
            self._close(key)
            return None
        if method not in self._methods or type(number) is not int:
            raise Refused(
                400, f"Requests must be numbered and for open, reset, step, render or close. Received: {method}"
            )
        with session.lock:
            if number != session.number:
                session.answer = self._methods[method](session.env, message)
                session.number = number
            session.used = time.monotonic()
            return session.answer

    def reap(self) -> None:
        """Closes sessions that had no request for too long."""
        late = time.monotonic() - self._timeout
        for key, session in list(self._sessions.items()):
            if session.used < late and not session.lock.locked():
                self._close(key)

    def close(self) -> None:
        """Closes all sessions."""
        for key in list(self._sessions):
            self._close(key)

    def _open(self):
        key, session = secrets.token_hex(16), Session()
        with self._lock:
            if len(self._sessions) >= self._most:
                raise Refused(
                    503, f"The server must not have more than {self._most} sessions: close one, or try again later"
                )
            self._sessions[key] = session
        try:
            env = self._make()
            if not isinstance(env, gymnasium.Env):
                raise TypeError(f"`env` must make a `gymnasium.Env`. Received: {env!r}")
            session.env = env
            for name in ("observation_space", "action_space"):
                spaces.check_supported(getattr(env, name), name)
        except BaseException:
            self._close(key)
            raise
        session.used = time.monotonic()
        return {
            "session": key,
            "observation_space": spaces.serialize(env.observation_space),
            "action_space": spaces.serialize(env.action_space),
            "metadata": portable(dict(env.metadata)),
            "render_mode": env.render_mode,
            "name": str(env),
        }

    def _close(self, key):
        with self._lock:
            session = self._sessions.pop(key, None)
        if session is not None and session.env is not None and session.lock.acquire(timeout=LAST_STEP):
            try:
                session.env.close()
            except Exception as error:  # the others are to be closed all the same
                warnings.warn(f"Closing a served environment raised {type(error).__name__}: {error}", stacklevel=2)
            finally:
                session.lock.release()

    @staticmethod
    def _reset(env, message):
        seed, options = message.get("seed"), message.get("options")
        if seed is not None and type(seed) is not int:
            raise Refused(400, f"`seed` must be an integer, or `None`. Received: seed={seed!r}")
        if options is not None and not isinstance(options, dict):
            raise Refused(400, f"`options` must be a dict, or `None`. Received: options={options!r}")
        observation, info = env.reset(seed=seed, options=options)
        return {"observation": observation, "info": portable(info)}

    @staticmethod
    def _step(env, message):
        action = message.get("action")
        wrong = border.misfit(env.action_space, action, what="The action")
        for leaf, part in spaces.pairs(env.action_space, action) if wrong is None else ():
            if np.asarray(part).dtype != leaf.dtype:
                wrong = f"The action must have the dtype {leaf.dtype}. Received: {np.asarray(part).dtype}"
        if wrong:
            raise Refused(400, wrong)
        observation, reward, terminated, truncated, info = env.step(action)
        return {
            "observation": observation,
            "reward": float(reward),
            "terminated": bool(terminated),
            "truncated": bool(truncated),
            "info": portable(info),
        }

    @staticmethod
    def _render(env, message):
        return {"frame": env.render()}
