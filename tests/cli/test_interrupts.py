"""The first signal stops training after the epoch, the second one ends the process."""

import contextlib
import os
import signal
import types

import pytest

from keras_rl_prob.cli.interrupts import StopOnSignal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_stops_after_the_epoch_and_makes_way_for_the_second(number, capfd):
    usual = {other: signal.getsignal(other) for other in (signal.SIGINT, signal.SIGTERM)}
    with StopOnSignal() as stop:
        stop.set_model(types.SimpleNamespace(stop_training=False))
        stop.on_epoch_end(0)
        assert not stop.model.stop_training
        os.kill(os.getpid(), number)
        assert not stop.model.stop_training  # in the middle of an epoch
        assert all(signal.getsignal(other) is signal.SIG_DFL for other in usual)
        stop.on_epoch_end(1)
        assert stop.model.stop_training
        assert stop.received == number
    assert {other: signal.getsignal(other) for other in usual} == usual
    printed = capfd.readouterr()
    assert printed.err.count("Stopping after this epoch") == 1
    assert printed.out == ""


def test_signals_are_as_usual_after_an_exception():
    usual = signal.getsignal(signal.SIGTERM)
    with contextlib.suppress(KeyError), StopOnSignal():
        assert signal.getsignal(signal.SIGTERM) != usual
        raise KeyError
    assert signal.getsignal(signal.SIGTERM) == usual
