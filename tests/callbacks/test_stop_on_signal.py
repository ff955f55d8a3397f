"""The first signal stops training after the epoch and keeps the backup, the second one ends the process."""

import contextlib
import os
import signal
import threading
import types

import keras
import pytest

import keras_rl_prob as krp
from keras_rl_prob.callbacks import StopOnSignal

NUMBERS = signal.SIGINT, signal.SIGTERM


def handlers():
    return {number: signal.getsignal(number) for number in NUMBERS}


@pytest.mark.parametrize("number", NUMBERS)
def test_first_signal_stops_after_the_epoch_and_makes_way_for_the_second(number, capfd):
    usual, stopped = handlers(), []
    with StopOnSignal() as stop:
        stop.set_model(types.SimpleNamespace(interrupt=lambda: stopped.append(True)))
        stop.set_params({"epochs": 3})
        stop.on_epoch_end(0)
        assert not stopped
        os.kill(os.getpid(), number)
        assert not stopped  # in the middle of an epoch
        assert all(handler is signal.SIG_DFL for handler in handlers().values())
        stop.on_epoch_end(1)
        assert stopped
        assert stop.received == number
    assert handlers() == usual
    printed = capfd.readouterr()
    assert printed.err.count("Stopping after this epoch") == 1
    assert printed.out == ""


def test_signals_are_as_usual_after_an_exception():
    usual = signal.getsignal(signal.SIGTERM)
    with contextlib.suppress(KeyError), StopOnSignal():
        assert signal.getsignal(signal.SIGTERM) != usual
        raise KeyError
    assert signal.getsignal(signal.SIGTERM) == usual


class Send(keras.callbacks.Callback):
    """Sends a signal to the process, in the middle of an epoch."""

    def __init__(self, epoch, number=signal.SIGTERM):
        super().__init__()
        self.epoch, self.number, self.now = epoch, number, None

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch:
            self.epoch = None
            os.kill(os.getpid(), self.number)


def agent():
    keras.utils.set_random_seed(3)
    made = krp.A2C(krp.networks.feed_forward("tf/CartPole-v1", (4,)))
    made.compile(jit_compile=False)
    return made


def fitted(made, callbacks, epochs=4):
    history = made.fit(
        "tf/CartPole-v1", num_envs=2, epochs=epochs, steps_per_epoch=3, seed=0, verbose=0, callbacks=callbacks
    )
    return history.epoch


@pytest.mark.parametrize("kind", [keras.callbacks.BackupAndRestore, krp.callbacks.Backup])
def test_fit_stops_whole_and_the_same_program_continues_bit_by_bit(kind, tmp_path):
    usual = handlers()
    whole = agent()
    fitted(whole, [])
    first, stop, backup = agent(), StopOnSignal(), kind(tmp_path / "backup")
    assert fitted(first, [Send(1), stop, backup]) == [0, 1]
    assert stop.received == signal.SIGTERM
    assert handlers() == usual
    assert backup.delete_checkpoint  # as it was
    assert (tmp_path / "backup").exists()
    again = agent()
    assert fitted(again, [StopOnSignal(), kind(tmp_path / "backup")]) == [2, 3]
    for x, y in zip(whole.get_weights(), again.get_weights(), strict=True):
        assert (x == y).all()
    assert not (tmp_path / "backup").exists()  # a complete run needs none


def test_a_signal_in_the_last_epoch_leaves_a_complete_run(tmp_path):
    stop = StopOnSignal()
    assert fitted(agent(), [Send(1), stop, krp.callbacks.Backup(tmp_path / "backup")], epochs=2) == [0, 1]
    assert stop.received == signal.SIGTERM
    assert not (tmp_path / "backup").exists()


def test_after_a_fit_that_failed_signals_are_as_usual():
    """There is no hook at which a callback could set them back, so the handler itself does it."""
    stop, received = StopOnSignal(), []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))

    def fail(batch, logs):
        raise RuntimeError("a fault")

    try:
        with pytest.raises(RuntimeError, match="a fault"):
            fitted(agent(), [stop, keras.callbacks.LambdaCallback(on_train_batch_end=fail)])
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == [signal.SIGTERM]
        assert stop.received is None
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_are_told_that_they_get_no_signals():
    errors, stop = [], StopOnSignal()
    stop.set_model(type("Training", (krp.PPO,), {"is_training": True})())

    def run():
        try:
            stop.on_train_begin()
        except ValueError as error:
            errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert errors == ["`StopOnSignal` needs `fit` in the main thread, where Python handles signals"]
