"""`serve`: environments for other processes and machines over HTTP, with the standard library's server."""

import contextlib
import errno
import hmac
import http.server
import math
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import gymnasium
from gymnasium.envs.registration import EnvSpec

from keras_rl_prob import checks
from keras_rl_prob.envs.gymnasium_ids import make_one
from keras_rl_prob.envs.remote.messages import MOST_BYTES, checked_token, pack, unpack
from keras_rl_prob.envs.remote.sessions import Refused, Sessions

GREETING = 10.0  # seconds in which a new connection must send its first request


def serve(
    env: str | EnvSpec | Callable[[], gymnasium.Env],
    port: int = 8000,
    host: str = "127.0.0.1",
    token: str | None = None,
    max_sessions: int = 64,
    timeout: float = 600.0,
) -> "EnvServer":
    """Serves an environment over HTTP, for `krp.envs.RemoteEnv`; every client gets an environment of its own.

    The server runs in threads of this process until it is closed. It has no encryption: between machines put it behind an SSH
    tunnel or a web server. Messages are JSON and arrays of at most 64 MiB; nothing is unpickled.

    Args:
        env: Id of an environment, a `krp.envs.spec`, or a callable that makes a `gymnasium.Env`.
        port: Port; 0 for any free one.
        host: Address to listen at: by default that of this machine for itself, `"0.0.0.0"` for all of its networks.
        token: Secret that clients must know; drawn at random by default.
        max_sessions: Largest number of environments.
        timeout: Seconds without a request after which an environment is closed.

    Returns:
        An `EnvServer`.

    Raises:
        TypeError: `env` is none of these.
        ValueError: Another argument is out of its range.
        OSError: The port is in use, or this machine does not have the address.

    Example:
    ```python
    with krp.envs.serve("CartPole-v1", port=0) as server:
        env = krp.envs.RemoteEnv(server.url, server.token)
        observation, info = env.reset(seed=0)
        env.close()
    ```
    """
    if isinstance(env, gymnasium.Env) or not (callable(env) or isinstance(env, str | EnvSpec)):
        raise TypeError(
            "`env` must be the id of an environment, a `krp.envs.spec`, or a callable that makes a `gymnasium.Env`, since each "
            f"client gets its own. Received: env={env!r}"
        )
    port = checks.integer("port", port, least=0)
    host, max_sessions = checks.text("host", host), checks.integer("max_sessions", max_sessions)
    token = secrets.token_urlsafe(32) if token is None else checked_token(token)
    sessions = Sessions(_maker(env), max_sessions, checks.number("timeout", timeout, above=0.0))
    try:
        server = _Server((host, port), sessions, token, timeout, 2 * max_sessions + 8)
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise OSError(
                f"`port` must be free, or 0 for any free one. Received: port={port}, which is in use"
            ) from None
        raise OSError(
            f"`host` and `port` must be an address of this machine. Received: host={host!r}, port={port} ({error})"
        ) from None
    return EnvServer(server)


def _maker(env):
    if isinstance(env, str | EnvSpec):
        return lambda: make_one(env)
    return env


class EnvServer:
    """A running server of `krp.envs.serve`; also a context manager, which closes it.

    Args:
        server: The HTTP server.

    Attributes:
        url: What `RemoteEnv` takes, such as `"http://127.0.0.1:8000"`.
        token: The secret that clients need.
    """

    def __init__(self, server: "_Server") -> None:
        self._server, self._ended = server, threading.Event()
        host, port = server.server_address[:2]
        self.url, self.token = f"http://{host!s}:{port}", server.token
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        threading.Thread(target=self._reap, daemon=True).start()

    @property
    def sessions(self) -> int:
        """Number of environments that clients have open."""
        return len(self._server.sessions)

    def wait(self) -> None:
        """Returns when the server is closed, or closes it at Ctrl-C."""
        try:
            self._ended.wait()
        except KeyboardInterrupt:
            self.close()

    def close(self) -> None:
        """Closes the server, its connections and its environments."""
        if not self._ended.is_set():
            self._ended.set()
            self._server.shutdown()
            self._server.server_close()
            self._server.hang_up(-math.inf)
            self._server.sessions.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reap(self):
        while not self._ended.wait(min(1.0, self._server.patience / 4)):
            self._server.hang_up()
            self._server.sessions.reap()


class _Server(http.server.ThreadingHTTPServer):
    """An HTTP server with a limited number of connections, which hangs up where no request comes.

    Args:
        address: Host and port.
        sessions: `Sessions`.
        token: The secret.
        patience: Seconds that a connection may wait for a request.
        connections: Largest number of connections.
    """

    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], sessions: Sessions, token: str, patience: float, connections: int
    ) -> None:
        self.sessions, self.token, self.patience = sessions, token, patience
        self.waiting: dict[Any, float] = {}  # connections that wait for a request, and the times until which they may
        self._free = threading.Semaphore(connections)
        super().__init__(address, _Handler)

    def hang_up(self, now: float | None = None) -> None:
        """Shuts down the connections that waited too long; all that wait if `now` is minus infinity."""
        for connection, end in list(self.waiting.items()):
            if now == -math.inf or time.monotonic() > end:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answers in a thread, or refuses if there are too many connections."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            with contextlib.suppress(OSError):
                request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answers the requests of a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Reports errors of the server itself, not connections that broke."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers the requests of a connection: `POST /step` and so on, see `Sessions.answer`."""

    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "keras_rl_prob", ""
    wbufsize = -1  # header and body in one packet
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.patience + 2.0)  # `hang_up` comes first
        self.server.waiting[self.connection] = time.monotonic() + min(GREETING, self.server.patience)

    def finish(self) -> None:
        self.server.waiting.pop(self.connection, None)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing."""

    def do_POST(self) -> None:
        try:
            message = self._message()
            self.server.waiting.pop(self.connection, None)  # may now take as long as the environment does
            status, kind, body = 200, "application/octet-stream", pack(self._answer(message))
        except Refused as error:
            status, kind, body = error.status, "text/plain; charset=utf-8", f"{error}"[:2000].encode()
        except (TypeError, ValueError) as error:
            status, kind, body = 400, "text/plain; charset=utf-8", f"{error}"[:2000].encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        self.server.waiting[self.connection] = time.monotonic() + self.server.patience

    def _answer(self, message):
        try:
            return self.server.sessions.answer(self.path.strip("/"), message)
        except Refused:
            raise
        except BaseException as error:  # of the environment, also `SystemExit`: the step took place
            raise Refused(500, f"The served environment raised {type(error).__name__}: {error}") from error

    def _message(self):
        """The message of a request; where it is refused before it was read, the connection ends."""
        goes_on, self.close_connection = not self.close_connection, True
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self.server.token.encode()):
            raise Refused(401, "The token is wrong")
        try:
            length = int(self.headers["Content-Length"])
        except (TypeError, ValueError):
            raise Refused(411, "A request must have a Content-Length") from None
        if not 0 <= length <= MOST_BYTES:
            raise Refused(413, f"A message must have at most {MOST_BYTES:,} bytes. Received: {length:,}")
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionAbortedError("the client is gone")
        self.close_connection = not goes_on
        return unpack(body)
