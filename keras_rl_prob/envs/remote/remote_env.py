"""`RemoteEnv`: an environment that `krp.envs.serve` serves, as a `gymnasium.Env`."""

import contextlib
import http.client
import urllib.parse
from typing import Any

import gymnasium
import numpy as np

from keras_rl_prob import border, checks, spaces
from keras_rl_prob.envs.remote.messages import MOST_BYTES, checked_token, pack, unpack
from keras_rl_prob.types import GymReset, GymStep

MISSING = 404  # status for a session that the server does not have


class RemoteEnv(gymnasium.Env):
    """An environment that another process or machine serves, see `krp.envs.serve`.

    With the same seed, it returns what the served environment would here; of `info`, what is made of arrays, numbers and
    strings. A request whose connection broke is sent once more, and takes effect once. `reset` opens a new session where the
    server has closed the old one.

    Args:
        url: Address of the server, such as `"http://127.0.0.1:8000"`.
        token: The token of the server.
        timeout: Seconds to wait for an answer.

    Raises:
        ValueError: An argument is no address, string or positive number.
        ConnectionError: The server does not answer, or no longer has this environment.
        PermissionError: The token is wrong.
        RuntimeError: The served environment raised an exception, or the server refused for another reason.

    Example:
    ```python
    make = lambda: krp.envs.RemoteEnv("http://127.0.0.1:8000", token)
    agent.fit(make, num_envs=8, epochs=10)
    ```
    """

    def __init__(self, url: str, token: str, timeout: float = 60.0) -> None:
        parts = urllib.parse.urlsplit(checks.text("url", url))
        kinds: Any = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        try:
            host, port, kind = parts.hostname, parts.port, kinds[parts.scheme]
        except (KeyError, ValueError):
            host = None
        if not host:
            raise ValueError(f'`url` must be an address such as "http://127.0.0.1:8000". Received: url={url!r}')
        self._connection = kind(host, port, timeout=checks.number("timeout", timeout, above=0.0))
        self._url, self._path = url, parts.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {checked_token(token)}"}
        self._number, self._session, self._name = 0, None, "unknown"
        self._open()

    def _open(self):
        made = self._call("open")
        self._session, self._name = made["session"], made["name"]
        self.observation_space = spaces.deserialize(made["observation_space"])
        self.action_space = spaces.deserialize(made["action_space"])
        self.metadata, self.render_mode = made["metadata"], made["render_mode"]

    def __str__(self) -> str:
        return f"<RemoteEnv of {self._name} at {self._url}>"

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> GymReset:
        """Resets the environment."""
        super().reset(seed=seed)
        seed = None if seed is None else int(seed)
        try:
            answer = self._call("reset", seed=seed, options=options)
        except SessionError:
            self._open()
            answer = self._call("reset", seed=seed, options=options)
        return self._observation(answer), answer["info"]

    def step(self, action: Any) -> GymStep:
        """Steps the environment."""
        answer = self._call("step", action=self._action(action))
        ended = answer["terminated"], answer["truncated"]
        return self._observation(answer), answer["reward"], *ended, answer["info"]

    def render(self) -> Any:
        """Draws the environment, if the server makes it with a `render_mode`."""
        return self._call("render")["frame"]

    def close(self) -> None:
        """Closes the environment on the server."""
        if self._session is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self._call("close")
            self._session = None
        self._connection.close()

    def _action(self, action):
        """The action in the dtypes of its space; what does not fit is left for the server to refuse."""
        if border.misfit(self.action_space, action) is not None:
            return action
        pairs = spaces.pairs(self.action_space, action)
        parts = iter([np.asarray(x).astype(leaf.dtype)[()] for leaf, x in pairs])
        return spaces.map_structure(lambda leaf: next(parts), self.action_space)

    def _observation(self, answer):
        observation = answer["observation"]
        wrong = border.misfit(self.observation_space, observation)
        if wrong:
            raise RuntimeError(f"{self} must return what fits its space. {wrong}")
        return observation

    def _call(self, method, **content):
        """Sends a request, again if the connection broke, and returns the answer."""
        self._number += 1
        body = pack({"session": self._session, "number": self._number, **content})
        for again in (True, False):
            try:
                self._connection.request("POST", f"{self._path}/{method}", body, self._headers)
                response = self._connection.getresponse()
                received = response.read(MOST_BYTES + 1)
                break
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                if not again or isinstance(error, TimeoutError):
                    raise ConnectionError(
                        f"The environment served at {self._url} must answer: see whether its server runs. Received: "
                        f"{type(error).__name__}: {error}"
                    ) from None
        if response.status == 200:
            return unpack(received)
        sentence = received[:2000].decode(errors="replace") or response.reason
        if response.status == 401:
            raise PermissionError(f"`token` must be that of the server at {self._url}. Received: {sentence}")
        kind = {MISSING: SessionError, 503: ConnectionError}.get(response.status, RuntimeError)
        raise kind(f"{sentence} (the server at {self._url})")


class SessionError(ConnectionError):
    """The server does not have this session, for example since it was started anew."""
