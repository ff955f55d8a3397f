"""The callback that shows progress, and where it is added to others."""

import logging
import os
import shutil
import sys
import time
from typing import Any

import keras

from keras_rl_prob.learning.progress.line import duration, first_line, line, number, rounded
from keras_rl_prob.learning.progress.step_rate import StepRate
from keras_rl_prob.types import Logs

INTERVAL = 0.1  # seconds between drawings of the line


class Progress(keras.callbacks.ProgbarLogger):
    """Shows one line for each epoch, in place of Keras' own progress bar.

    `Epoch 3/10 ━━━━━━────── 81,080/410k steps  30.6k/s  return 121.3  length 121  val_return 500  0:12`: a bar of the epoch,
    environment steps of about how many until the last epoch, environment steps per second, results of episodes, and the time
    left, or in the end that of the epoch. What is not known yet is left out, and so is what does not fit into the window. The
    time left does not count what is compiled. Where a line cannot be drawn over another one (a file, a pipe, `TERM=dumb`), and
    with `verbose=2`, a line is printed at the end of an epoch. With `verbose=1` the first line says how many environments there
    are, and how many of their steps in an epoch.

    Args:
        rate: The `StepRate` of the same `fit`, or `None` for `evaluate`.
    """

    def __init__(self, rate: StepRate | None = None) -> None:
        super().__init__()
        self._rate, self._trains = rate, False
        self._drawn = ""
        self._plan: tuple[int, int, str] | None = None

    def begin(self, num_envs: int, steps_per_epoch: int, more: str = "") -> None:
        """Tells what the first line of `fit` says, before Keras' `fit`.

        Args:
            num_envs: Number of environments.
            steps_per_epoch: Their steps in an epoch.
            more: What gives more environments; empty for nothing.
        """
        self._plan = num_envs, steps_per_epoch, more

    # ---- fit --------------------------------------------------------------------------------------------------

    def on_train_begin(self, logs: Logs = None) -> None:
        """Starts to count, after a line about what is trained."""
        self._trains = True
        if self._plan and self.verbose == 1:
            text = first_line(shutil.get_terminal_size().columns, *self._plan)
            if text:
                self._print(text)
        self._first_steps, self._first_batch, self._shown = int(self.model.env_steps.numpy()), 0, 0.0
        self._batches = 0  # gradient steps in this `fit`
        self._training = self._gaps = 0.0  # seconds of gradient steps, and between epochs
        self._gap_count = -1  # the first gap, in which the evaluation is compiled, does not count
        self._last_end: float | None = None
        self._validation: dict[str, Any] = {}

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Draws the line of the first epoch, in which the first thing may take long."""
        now = time.perf_counter()
        self._epoch, self._epoch_start = epoch, now
        if self._last_end is not None:
            self._gap_count += 1
            self._gaps += now - self._last_end if self._gap_count else 0.0
        self._done = 0
        self._logs: dict[str, Any] = {}
        if not self._batches:
            self._draw("" if self.model.run_eagerly else "compiling")

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Starts the clock."""
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Draws the line, unless it was just drawn."""
        self._last_end = now = time.perf_counter()
        self._batches += batch + 1 - self._done
        self._done = batch + 1
        if not self._first_batch:
            self._first_batch = self._batches
            self._before_first, self._first_steps = self._first_steps, int(logs["env_steps"])
        else:
            self._training += now - self._start
        self._logs = logs
        if now - self._shown > INTERVAL:
            self._draw(self._time_left())

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Ends the line."""
        self._logs, self._done = logs, self._done if self.model.budget else self.target
        taken = duration(time.perf_counter() - self._epoch_start)
        if self.verbose:
            self._print(self._line(1.0 if self._can_draw() else None, taken))

    def on_test_begin(self, logs: Logs = None) -> None:
        """Says that episodes are played."""
        if self._trains:
            self._draw("validating")

    def on_test_end(self, logs: Logs = None) -> None:
        """Prints the results of `evaluate`."""
        if not self._trains and self.verbose:
            self._print("  ".join(f"{name} {number(value)}" for name, value in _in_order(logs).items()))

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Draws nothing."""

    def end_line(self) -> None:
        """Ends a line that is drawn, so that an error begins its own."""
        if self._drawn:
            self._drawn = ""
            sys.stdout.write("\n")

    # ---- the line ---------------------------------------------------------------------------------------------

    def _time_left(self):
        """The time left until the last epoch ends, or nothing before it is known."""
        timed = self._batches - self._first_batch
        if not timed:
            return ""
        epochs = self.epochs - self._epoch - 1
        left = self._left() * self._training / timed
        return duration(left + epochs * self._gaps / max(1, self._gap_count))

    def _steps(self):
        """Environment steps so far, and about how many there will be."""
        if "env_steps" not in self._logs:
            return ""
        steps = int(self._logs["env_steps"])
        timed = self._batches - self._first_batch
        since, batches = (self._first_steps, timed) if timed else (self._before_first, self._batches)
        left = self._left()
        if not left:
            return f"{steps:,}"
        budget = self.model.budget
        return f"{steps:,}/{rounded(budget.end if budget else steps + left * (steps - since) / batches)}"

    def _left(self):
        """About how many batches are left until the last epoch ends."""
        budget = self.model.budget
        if budget is None:
            return (self.epochs - self._epoch) * self.target - self._done
        steps = int(self._logs["env_steps"])
        return max(0, budget.end - steps) * self._batches / max(1, steps - self._before_first)

    def _part(self):
        """The part of the epoch that is done, 0 to 1, or `None`."""
        budget = self.model.budget
        if budget is not None:
            return budget.part(self._epoch, int(self._logs.get("env_steps", 0)))
        return self._done / self.target if self.target else None

    def _line(self, bar, end):
        logs = self._logs
        validation = {name: value for name, value in logs.items() if name.startswith("val_")}
        self._validation = _in_order(validation) or self._validation
        rate = self._rate.steps_per_second if self._rate else None
        fields = {"steps": self._steps(), "rate": f"{rounded(rate)}/s" if rate else ""}
        known = {name: logs[name] for name in ("return", "length") if name in logs} | self._validation
        fields |= {name: number(value) for name, value in known.items()}
        columns = shutil.get_terminal_size().columns
        return line(columns, f"{self._epoch + 1}/{self.epochs}", bar, fields, end, _knows("━─"))

    def _can_draw(self):
        """Whether a line can be drawn over the last one."""
        out = sys.stdout
        notebook = type(out).__module__.startswith(("ipykernel", "google.colab"))
        terminal = out is not None and out.isatty() and os.environ.get("TERM") != "dumb"
        return self.verbose == 1 and (notebook or terminal) and keras.config.is_interactive_logging_enabled()

    def _draw(self, end):
        if self._can_draw():
            text = self._line(self._part(), end)
            sys.stdout.write(f"\r{text.ljust(len(self._drawn))}")
            sys.stdout.flush()
            self._drawn, self._shown = text, time.perf_counter()

    def _print(self, text):
        if not keras.config.is_interactive_logging_enabled():
            logging.getLogger("absl").info(text)  # Keras' logger
        elif sys.stdout is not None:
            start = "\r" if self._drawn else ""
            sys.stdout.write(f"{start}{text.ljust(len(self._drawn))}\n")
            sys.stdout.flush()
            self._drawn = ""


def _in_order(logs):
    """Returns first, as in `fit`; Keras sorts the results of `evaluate` by name."""
    return dict(sorted((logs or {}).items(), key=lambda entry: not entry[0].endswith("return")))


def _knows(characters):
    """Whether these can be written to standard output."""
    try:
        characters.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def with_progress(callbacks: Any, verbose: str | int, trains: bool = True) -> Any:
    """Returns the callbacks of `fit` or `evaluate` with a `StepRate`, and with a `Progress`.

    The `StepRate` is first, so that all others find its entry, the `Progress` last, so that it shows theirs. There is none if
    `verbose` is 0 or if the callbacks include a progress bar of Keras.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    rate = StepRate() if trains else None
    callbacks = [*([rate] if rate else []), *keras.tree.flatten(callbacks or [])]
    if verbose == 0 or any(isinstance(callback, keras.callbacks.ProgbarLogger) for callback in callbacks):
        return callbacks
    return [*callbacks, Progress(rate)]


def end_line(callbacks: Any) -> None:
    """Ends the line of a `Progress` that `fit` leaves with an error."""
    for callback in [] if isinstance(callbacks, keras.callbacks.CallbackList) else callbacks:
        if isinstance(callback, Progress):
            callback.end_line()
