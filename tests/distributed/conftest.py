"""What the tests of collectors share."""

import contextlib

import pytest


@pytest.fixture
def engine(monkeypatch):
    """An `InProcess` engine, which takes the place of Ray."""
    from in_process import InProcess, connected

    engine = InProcess()
    monkeypatch.setattr("keras_rl_prob.distributed.collectors.connected", lambda *_: connected(engine))
    return engine


@pytest.fixture
def stack():
    with contextlib.ExitStack() as stack:
        yield stack
