"""Environments over HTTP: the same steps as here, many clients, and whatever else arrives at the server's port."""

import concurrent.futures
import contextlib
import http.client
import json
import multiprocessing
import os
import re
import signal
import socket
import struct
import threading
import time

import gymnasium
import keras
import numpy as np
import pytest
from gymnasium import spaces

import keras_rl_prob as krp
from keras_rl_prob.envs.remote import messages
from keras_rl_prob.envs.remote.remote_env import SessionError
from keras_rl_prob.testing import DictTask, HybridTask, ScriptedEnv

TOKEN, OTHER = "a secret of this test", "b"


@pytest.fixture(scope="module")
def server():
    with krp.envs.serve("CartPole-v1", port=0, token=TOKEN) as server:
        yield server


@pytest.fixture
def env(server):
    env = krp.envs.RemoteEnv(server.url, TOKEN)
    yield env
    env.close()


def assert_equal(got, wanted):
    """Equal values of equal types and dtypes, in nests."""
    assert type(got) is type(wanted)
    if isinstance(wanted, dict):
        assert list(got) == list(wanted)
        for key in wanted:
            assert_equal(got[key], wanted[key])
    elif isinstance(wanted, tuple | list):
        for x, y in zip(got, wanted, strict=True):
            assert_equal(x, y)
    else:
        np.testing.assert_array_equal(got, wanted)
        assert getattr(got, "dtype", None) == getattr(wanted, "dtype", None)


def play(env, steps, seed):
    """What an environment returns for random actions, a list."""
    env.action_space.seed(seed)
    returned = [env.reset(seed=seed)]
    for _ in range(steps):
        returned.append(env.step(env.action_space.sample()))
        if returned[-1][2] or returned[-1][3]:
            returned.append(env.reset())
    return returned


# ---- the same as here ---------------------------------------------------------------------------------------------


def test_a_thousand_steps_are_those_of_a_local_environment(env):
    local = gymnasium.make("CartPole-v1")
    assert (env.observation_space, env.action_space) == (local.observation_space, local.action_space)
    assert env.metadata["render_fps"] == 50
    assert_equal(play(env, 1000, 3), play(local, 1000, 3))
    krp.testing.check_env(env)


@pytest.mark.parametrize(
    "make",
    [HybridTask, DictTask, lambda: gymnasium.make("FrozenLake-v1"), lambda: gymnasium.make("Blackjack-v1")],
    ids=["hybrid", "dict", "discrete", "tuple"],
)
def test_other_spaces(make):
    with krp.envs.serve(make, port=0) as server:
        env, local = krp.envs.RemoteEnv(server.url, server.token), make()
        assert (env.observation_space, env.action_space) == (local.observation_space, local.action_space)
        for remote, here in zip(play(env, 30, 5), play(local, 30, 5), strict=True):
            for x, y in zip(remote, here, strict=True):
                if not isinstance(y, dict) or "prob" not in y:
                    assert type(x) is type(y) or np.ndim(y) == 0
                    np.testing.assert_equal(x, y)


class Told(ScriptedEnv):
    """Has something to say in `info`, and a picture."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 7, "unsent": object()}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self):
        super().__init__(1, [(3, "terminated")])

    def step(self, action):
        *row, _ = super().step(action)
        info = {
            "mask": np.array([True, False]),
            "text": "x",
            "unsent": object(),
            "none": None,
            "nan": np.float64("nan"),
        }
        return *row, {**info, "nested": {"t": (1, [2.5, np.int8(3)])}, "unsent too": {1: 2}}

    def render(self):
        return np.arange(12, dtype=np.uint8).reshape(2, 2, 3)


def test_info_metadata_and_pictures():
    with krp.envs.serve(Told, port=0) as server:
        env = krp.envs.RemoteEnv(server.url, server.token)
        env.reset(options={"start": np.zeros(2)})
        *_, info = env.step(0)
        sent = {"mask": np.array([True, False]), "text": "x", "none": None, "nan": np.float64("nan")}
        assert_equal(info, {**sent, "nested": {"t": (1, [2.5, np.int8(3)])}})
        assert env.metadata == {"render_modes": ["rgb_array"], "render_fps": 7}
        assert env.render_mode == "rgb_array"
        assert_equal(env.render(), Told().render())
        assert "ScriptedEnv" in str(env) or "Told" in str(env)


def test_twenty_clients_at_once(server):
    wanted = {seed: play(gymnasium.make("CartPole-v1"), 30, seed) for seed in range(20)}
    envs = [krp.envs.RemoteEnv(server.url, TOKEN) for _ in range(20)]
    assert server.sessions >= 20
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        played = list(pool.map(play, envs, [30] * 20, range(20)))
    for seed, returned in enumerate(played):
        assert_equal(returned, wanted[seed])
    for env in envs:
        env.close()


# ---- what goes wrong ----------------------------------------------------------------------------------------------


class Ending(gymnasium.Wrapper):
    """Ends its server in a step."""

    servers, steps = [], 0

    def step(self, action):
        type(self).steps += 1
        if self.steps == 100:
            threading.Thread(target=self.servers[0].close).start()
        return self.env.step(action)


def test_a_server_that_ends_in_mid_episode_leaves_the_agent_whole(server):
    ending = krp.envs.serve(lambda: Ending(gymnasium.make("CartPole-v1")), port=0)
    Ending.servers[:] = [ending]
    agent = krp.A2C(rollout_steps=8)
    agent.compile(jit_compile=False)
    with pytest.raises(
        ConnectionError, match=r"The environment served at http://127.0.0.1:\d+ must answer: see whether"
    ) as info:
        agent.fit(lambda: krp.envs.RemoteEnv(ending.url, ending.token), num_envs=2, verbose=0, epochs=2)
    assert "\n" not in str(info.value)
    steps = int(agent.env_steps)
    assert 0 < steps < 1000
    agent.fit(lambda: krp.envs.RemoteEnv(server.url, TOKEN), num_envs=2, steps_per_epoch=2, verbose=0)
    assert int(agent.env_steps) > steps
    assert all(np.isfinite(x).all() for x in agent.get_weights())


class Killing(gymnasium.Wrapper):
    """Kills its process at its hundredth step."""

    steps = 0

    def step(self, action):
        self.steps += 1
        if self.steps == 100:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.env.step(action)


def served_elsewhere(pipe):
    server = krp.envs.serve(lambda: Killing(gymnasium.make("CartPole-v1")), port=0)
    pipe.send((server.url, server.token))
    server.wait()


def test_a_server_that_is_killed_in_mid_episode_leaves_the_agent_as_after_its_last_update(server):
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=served_elsewhere, args=(there,))
    process.start()
    agent = krp.A2C(krp.networks.feed_forward("CartPole-v1", (4,)), rollout_steps=8)
    agent.compile(run_eagerly=True, jit_compile=False)
    url, token = here.recv()
    ends = []
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends.append(agent.get_weights()))
    with pytest.raises(ConnectionError, match=rf"The environment served at {url} must answer: see whether") as info:
        agent.fit(lambda: krp.envs.RemoteEnv(url, token), num_envs=2, verbose=0, callbacks=[note])
    assert "\n" not in str(info.value)
    process.join(10)
    assert process.exitcode == -signal.SIGKILL
    assert len(ends) >= 12, "a rollout has at most 8 of the hundred steps"
    keras.tree.map_structure(np.testing.assert_array_equal, agent.get_weights(), ends[-1])
    assert any((x != y).any() for x, y in zip(ends[-2], ends[-1], strict=True))
    agent.fit(lambda: krp.envs.RemoteEnv(server.url, TOKEN), num_envs=2, steps_per_epoch=2, verbose=0)
    assert any((x != y).any() for x, y in zip(agent.get_weights(), ends[-1], strict=True))


def raw(server, head, body=b"", token=TOKEN, end=True):
    """Sends bytes and returns what the server answers, empty if it only hangs up."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        try:
            connection.sendall(f"{head}\r\nAuthorization: Bearer {token}\r\n\r\n".encode() + body)
            if end:
                connection.shutdown(socket.SHUT_WR)
            return connection.recv(100_000)
        except ConnectionError:
            return b""


def posted(server, body, method="step", token=TOKEN):
    head = f"POST /{method} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
    return raw(server, head, body, token)


def message(**content):
    return messages.pack({"session": "0", "number": 1, **content})


def foreign(dtype, data=b"\0" * 64, shape=(1,)):
    header = json.dumps({"value": {"array": 0}, "arrays": [[dtype, shape]]}).encode()
    return struct.pack(">I", len(header)) + header + data


def header(**content):
    text = json.dumps(content).encode()
    return struct.pack(">I", len(text)) + text


DEEP = b'{"dict":{"a":' * 5000 + b"1" + b"}}" * 5000
REFUSED = {
    "too large": (
        lambda s: raw(s, f"POST /step HTTP/1.1\r\nContent-Length: {100 * 10**6}"),
        b"413.*at most 67,108,864",
    ),
    "100 MB": (lambda s: posted(s, bytes(100 * 10**6)), b"(413)?"),  # the end of the connection may come first
    "negative": (lambda s: raw(s, "POST /step HTTP/1.1\r\nContent-Length: -1"), b"413"),
    "no length": (lambda s: raw(s, "POST /step HTTP/1.1"), b"411"),
    "wrong token": (lambda s: posted(s, message(), token=OTHER), b"401.*The token is wrong"),
    "umlaut token": (lambda s: posted(s, message(), token=OTHER + "ä€"), b"401.*The token is wrong"),
    "no session": (lambda s: posted(s, message()), b"404.*no such session"),
    "no dict": (lambda s: posted(s, messages.pack([1])), b"400.*must be a dict"),
    "object dtype": (lambda s: posted(s, foreign("object")), b"400.*one of the dtypes.*'object'"),
    "strings": (lambda s: posted(s, foreign("<U4")), b"400.*one of the dtypes"),
    "huge shape": (lambda s: posted(s, foreign("float64", shape=[2**40, 2**40])), b"400"),
    "negative shape": (lambda s: posted(s, foreign("float64", shape=[-1])), b"400.*at least 0"),
    "more bytes": (lambda s: posted(s, foreign("int8")), b"400.*63 bytes more"),
    "no array": (lambda s: posted(s, header(value={"array": 3}, arrays=[])), b"400.*malformed"),
    "unknown kind": (lambda s: posted(s, header(value={"pickle": "x"}, arrays=[])), b"400.*malformed"),
    "no json": (lambda s: posted(s, struct.pack(">I", 5) + b"pickl"), b"400"),
    "deep": (lambda s: posted(s, struct.pack(">I", len(DEEP)) + DEEP), b"400"),
    "nothing": (lambda s: posted(s, b""), b"400.*malformed"),
    "random": (lambda s: posted(s, np.random.default_rng(0).bytes(500)), b"400"),
    "no such page": (lambda s: raw(s, "GET / HTTP/1.1\r\nHost: x"), b"501"),
    "no http": (lambda s: raw(s, "hello"), b"400"),
    "cut": (lambda s: raw(s, "POST /step HTTP/1.1\r\nContent-Length: 500", b"x" * 100), b""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_and_the_server_lives_on(server, env, case, capfd):
    env.reset(seed=0)
    send, wanted = REFUSED[case]
    answer = send(server)
    assert re.match(rb"(?s)(HTTP/1.1 |.*Error code: )?" + wanted + rb".*$", answer)
    assert b"Traceback" not in answer
    assert env.step(1)[1] == 1.0  # this client goes on
    assert capfd.readouterr().err == ""


def test_tokens_are_compared_in_constant_time(server, monkeypatch):
    from keras_rl_prob.envs.remote import server as module

    compared = []
    monkeypatch.setattr(module.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or a == b)
    with pytest.raises(PermissionError, match=r"`token` must be that of the server at http.*The token is wrong"):
        krp.envs.RemoteEnv(server.url, "b")
    assert compared == [(b"b", TOKEN.encode())]


@pytest.mark.parametrize(
    ("action", "text"),
    [
        ("x", "The action must have the dtype int64. Received: str"),
        (0.5, "The action must have the dtype int64. Received: float"),
        (np.zeros(2, int), r"The action must have the shape \(\). Received: \(2,\)"),
        (7, "The served environment raised AssertionError: .*invalid"),
    ],
)
def test_wrong_actions(env, action, text):
    env.reset(seed=0)
    with pytest.raises(RuntimeError, match=rf"^{text}.*\(the server at http://127.0.0.1:\d+\)$"):
        env.step(action)
    assert env.step(0)[1] == 1.0


def test_other_dtypes_of_actions_are_refused_unless_the_client_converts_them(server, env):
    env.reset(seed=0)
    env.step(np.int8(1))
    with pytest.raises(RuntimeError, match=r"The action must have the dtype int64\. Received: int8"):
        env._call("step", action=np.int8(1))


@pytest.mark.parametrize("content", [{"seed": 1.5}, {"options": [1]}])
def test_wrong_resets(env, content):
    with pytest.raises(RuntimeError, match=f"`{next(iter(content))}` must be"):
        env._call("reset", **content)


def test_errors_of_the_environment_have_no_traceback():
    def fails():
        raise ZeroDivisionError("nothing to divide by")

    with krp.envs.serve(fails, port=0) as server:
        for _ in range(3):
            with pytest.raises(
                RuntimeError, match=r"^The served environment raised ZeroDivisionError: nothing to divide by"
            ):
                krp.envs.RemoteEnv(server.url, server.token)
        assert server.sessions == 0
    with krp.envs.serve(lambda: 3, port=0) as server, pytest.raises(RuntimeError, match=r"must make a `gymnasium.Env`"):
        krp.envs.RemoteEnv(server.url, server.token)


def test_a_step_that_ends_its_program_took_place_once():
    class Exits(ScriptedEnv):
        steps = 0

        def step(self, action):
            Exits.steps += 1
            raise SystemExit("enough")

    with krp.envs.serve(lambda: Exits(0, [(9, "truncated")]), port=0) as server:
        env = krp.envs.RemoteEnv(server.url, server.token)
        env.reset()
        with pytest.raises(RuntimeError, match=r"^The served environment raised SystemExit: enough"):
            env.step(0)
        assert Exits.steps == 1


@pytest.mark.filterwarnings("ignore:Closing a served environment raised")
def test_an_environment_that_cannot_be_closed_keeps_none_of_the_others_open():
    closed = []

    class Stays(ScriptedEnv):
        def close(self):
            closed.append(len(closed))
            if closed == [0]:
                raise OSError("does not close")

    with krp.envs.serve(lambda: Stays(0, [(9, "truncated")]), port=0, timeout=0.4) as server:
        for _ in range(3):
            krp.envs.RemoteEnv(server.url, server.token).reset()
        end = time.monotonic() + 30
        while server.sessions and time.monotonic() < end:
            time.sleep(0.05)
        assert (server.sessions, closed) == (0, [0, 1, 2])
        closed.clear()
        for _ in range(3):
            krp.envs.RemoteEnv(server.url, server.token).reset()
    assert closed == [0, 1, 2]


# ---- sessions and connections -------------------------------------------------------------------------------------


def test_sessions_are_bounded_and_closed_after_a_while():
    with krp.envs.serve(lambda: ScriptedEnv(1, [(9, "truncated")]), port=0, max_sessions=2, timeout=1.0) as server:
        first, second = (krp.envs.RemoteEnv(server.url, server.token) for _ in range(2))
        with pytest.raises(ConnectionError, match="must not have more than 2 sessions"):
            krp.envs.RemoteEnv(server.url, server.token)
        second.close()
        assert server.sessions == 1
        first.reset()
        first.step(0)
        end = time.monotonic() + 30
        while server.sessions and time.monotonic() < end:
            time.sleep(0.05)
        assert server.sessions == 0
        with pytest.raises(
            SessionError, match="There is no such session: it was closed, or had no request for too long"
        ):
            first.step(0)
        np.testing.assert_array_equal(first.reset()[0], [1, 0, 0])  # in a new session
        first.close()


def test_a_connection_that_broke_is_made_again_and_a_request_takes_effect_once(env, monkeypatch):
    """The answer to the third step is lost."""
    local = gymnasium.make("CartPole-v1")
    assert_equal(env.reset(seed=4), local.reset(seed=4))
    receive, lost = http.client.HTTPConnection.getresponse, []

    def losing(connection):
        response = receive(connection)
        if len(lost) == 2:
            lost.append(response.read())
            raise ConnectionResetError("lost")
        lost.append(None)
        return response

    monkeypatch.setattr(http.client.HTTPConnection, "getresponse", losing)
    for _ in range(6):
        assert_equal(env.step(1), local.step(1))
    assert lost[2]
    env._connection.sock.shutdown(socket.SHUT_RDWR)  # a connection that was idle for too long
    assert_equal(env.step(0), local.step(0))


def test_connections_that_send_nothing_are_hung_up_and_bounded():
    with krp.envs.serve("CartPole-v1", port=0, max_sessions=1, timeout=0.4) as server:
        host, port = server.url.removeprefix("http://").split(":")
        idle = [socket.create_connection((host, int(port)), timeout=5) for _ in range(14)]
        full = [connection for connection in idle[10:] if connection.recv(100).startswith(b"HTTP/1.1 503")]
        assert len(full) == 4  # of 2 * max_sessions + 8
        begin = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - begin < 5:
                idle[0].sendall(b"P")  # never a whole request
                time.sleep(0.1)
        assert [connection.recv(100) for connection in idle[1:10]] == [b""] * 9
        assert time.monotonic() - begin < 2  # 0.4 s, a little more on a busy machine
        env = krp.envs.RemoteEnv(server.url, server.token)
        env.reset()
        for connection in idle:
            connection.close()
        env.close()


def test_a_server_that_does_not_answer():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(ConnectionError, match=r"must answer: see whether its server runs\. Received: TimeoutError"):
            krp.envs.RemoteEnv(f"http://127.0.0.1:{silent.getsockname()[1]}", "x", timeout=0.2)
        assert time.monotonic() - start < 2


# ---- arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["secret\n", "s\u20ac", "", 3])
def test_tokens_that_no_header_can_have(token):
    for use in (
        lambda: krp.envs.serve("CartPole-v1", port=0, token=token),
        lambda: krp.envs.RemoteEnv("http://x", token),
    ):
        with pytest.raises(ValueError, match="`token` must be a string of printable ASCII characters") as raised:
            use()
        assert "secret" not in str(raised.value)


def test_a_port_in_use_is_one_sentence(server):
    port = int(server.url.rsplit(":", 1)[1])
    with pytest.raises(
        OSError, match=rf"^`port` must be free, or 0 for any free one\. Received: port={port}, which is in use$"
    ):
        krp.envs.serve("CartPole-v1", port=port)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"env": gymnasium.make("CartPole-v1")}, TypeError, "`env` must be the id.*since each client gets its own"),
        ({"env": 3}, TypeError, "`env` must be the id"),
        ({"port": -1}, ValueError, "`port` must be an integer of at least 0"),
        ({"port": 70_000}, OSError, "`host` and `port` must be an address of this machine"),
        ({"host": "203.0.113.7"}, OSError, "`host` and `port` must be an address of this machine.*203.0.113.7"),
        ({"token": ""}, ValueError, "`token` must be a string"),
        ({"max_sessions": 0}, ValueError, "`max_sessions` must be a positive integer"),
        ({"timeout": 0}, ValueError, "`timeout` must be a positive number"),
    ],
)
def test_wrong_arguments_of_the_server(arguments, error, text):
    with pytest.raises(error, match=text):
        krp.envs.serve(**{"env": "CartPole-v1", "port": 0, **arguments})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        *(
            ({"url": url}, "`url` must be an address such as")
            for url in ("x", "ftp://x", "http://", "http://x:y", "http://x:99999")
        ),
        ({"token": None}, "`token` must be a string"),
        ({"timeout": -1}, "`timeout` must be a positive number"),
    ],
)
def test_wrong_arguments_of_the_client(arguments, text):
    with pytest.raises(ValueError, match=text):
        krp.envs.RemoteEnv(**{"url": "http://127.0.0.1:9", "token": "x", **arguments})


def test_the_server_listens_on_loopback_unless_told_otherwise(server):
    assert server.url.startswith("http://127.0.0.1:")
    assert len(krp.envs.serve.__defaults__[1]) == len("127.0.0.1")
    with krp.envs.serve("CartPole-v1", port=0) as one, krp.envs.serve("CartPole-v1", port=0) as other:
        assert one.token != other.token
        assert len(one.token) >= 32


def test_waiting_ends_with_the_server(monkeypatch):
    server = krp.envs.serve("CartPole-v1", port=0)
    monkeypatch.setattr(server._ended, "wait", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    server.wait()
    monkeypatch.undo()
    with pytest.raises(ConnectionError):
        krp.envs.RemoteEnv(server.url, server.token)
    server.close()
    server.wait()


@pytest.mark.parametrize(
    "value",
    [
        {"a": np.arange(6, dtype="int16").reshape(2, 3), "b": (1, [2.5, None, "ä"]), "c": {}},
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.zeros((0, 3), bool),
        np.float16(1.5),
        np.arange(3, dtype=">i4"),
    ],
)
def test_messages_come_back(value):
    got = messages.unpack(messages.pack(value))
    if isinstance(value, np.ndarray) and value.dtype.byteorder == ">":
        value = value.astype("i4")
    assert_equal(got, value)
    if isinstance(got, np.ndarray):
        got[...] = 0  # writable


@pytest.mark.parametrize("value", [object(), {1: 2}, np.array(["x"]), np.array([None]), 1j, {"a": {2}}])
def test_what_messages_cannot_hold(value):
    with pytest.raises(TypeError, match=r"must (be|have)"):
        messages.pack(value)


def test_messages_are_bounded():
    with pytest.raises(ValueError, match="at most 67,108,864 bytes"):
        messages.pack(np.broadcast_to(np.float64(0), (9 * 2**20,)))


def test_spaces_that_are_not_supported():
    class Texts(gymnasium.Env):
        observation_space, action_space = spaces.Text(5), spaces.Discrete(2)

    with (
        krp.envs.serve(Texts, port=0) as server,
        pytest.raises(RuntimeError, match=r"The served environment raised .*Text"),
    ):
        krp.envs.RemoteEnv(server.url, server.token)
