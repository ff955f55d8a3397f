"""The line that `fit` shows: what is in it, that it fits, and no control characters where none belong."""

import io
import math
import re
import types

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.learning.progress import Progress, StepRate, callback
from keras_rl_prob.learning.progress.line import first_line, line

START = "8 environments, 768 steps an epoch; `num_envs` for more"
FIELDS = {
    "steps": "1,234,567/9.99M", "rate": "30.6k/s", "return": "-1121", "length": "121.3",
    "val_return": "-1000", "val_length": "200.0",
}  # fmt: skip


class Screen(io.StringIO):
    """Standard output that may be a terminal."""

    def __init__(self, terminal, encoding="utf-8"):
        super().__init__()
        self.terminal, self.coding = terminal, encoding

    def isatty(self):
        return self.terminal

    @property
    def encoding(self):
        return self.coding


def shown(
    monkeypatch, terminal=True, columns=80, encoding="utf-8", term="xterm", verbose="auto", notebook=False, **more
):
    """What `fit` writes, and its history."""
    screen = Screen(terminal, encoding)
    if notebook:
        screen = type("OutStream", (Screen,), {"__module__": "ipykernel.iostream"})(False)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(callback, "INTERVAL", 0.0)
    network = krp.networks.feed_forward("tf/CartPole-v1", (4,))
    agent = krp.PPO(network, rollout_steps=32, minibatches=1, update_epochs=1)
    agent.compile(run_eagerly=True)
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", screen)
        history = agent.fit(
            "tf/CartPole-v1", epochs=2, steps_per_epoch=3, num_envs=8, seed=1, verbose=verbose, **more
        ).history
    return screen.getvalue(), history


@pytest.mark.parametrize("columns", [*range(1, 30), *range(60, 200, 7), 80, 84, 120])
@pytest.mark.parametrize("bar", [None, 0.0, 0.37, 1.0])
def test_a_line_fits_and_shows_more_in_a_wider_window(columns, bar):
    text = line(columns, "10/10", bar, FIELDS, "1:02:03")
    assert len(text) < max(columns, 2)
    names = ("10/10", "-1121", "1,234,567", "-1000", "30.6k/s", "length 121.3")
    assert [name in text for name in names] == sorted((name in text for name in names), reverse=True)
    assert ("val_length" in text) <= (bar is None or "━" in text or "─" in text)
    if columns >= 20:
        assert "return -1121" in text
    if columns >= 84:
        assert all(name in text for name in (*names, "1:02:03"))
    if columns >= 140 and bar == 0.37:
        assert text.startswith(
            "Epoch 10/10 ━━━━──────── 1,234,567/9.99M steps  30.6k/s  return -1121  length 121.3  val_return"
        )


def test_usual_numbers_fit_into_80_columns_with_a_bar():
    fields = {"steps": "81,080/410k", "rate": "30.6k/s", "return": "121.3", "length": "121.3", "val_return": "500.0"}
    text = line(80, "3/10", 0.5, fields, "0:12")
    assert re.fullmatch(r"3/10 ━+─+ 81,080/410k 30.6k/s return 121.3 length 121.3 val_return 500.0 0:12", text)


def test_fields_without_a_value_are_left_out():
    assert line(80, "1/2", None, {"steps": "10", "return": "", "length": ""}) == "Epoch 1/2 10 steps"


def test_terminal_shows_one_line_for_each_epoch_drawn_over_itself(monkeypatch):
    out, history = shown(monkeypatch, validation_data="tf/CartPole-v1", validation_episodes=2)
    lines = out.split("\n")
    assert lines.pop() == ""
    assert lines.pop(0) == START
    assert len(lines) == 2
    for epoch, text in enumerate(lines):
        drawings = text.split("\r")
        assert max(map(len, drawings)) < 80
        lengths = [len(x) for x in drawings if x]
        assert all(
            b >= len(a.rstrip()) for a, b in zip(drawings[1:], lengths[1:], strict=False)
        )  # nothing is left over
        assert any(x.rstrip().endswith("validating") for x in drawings)
        *_, last = drawings
        assert re.match(rf"(Epoch )?{epoch + 1}/2 ━+ {int(history['env_steps'][epoch]):,}", last)
        assert f" return {history['return'][epoch]:#.4g} " in last
        assert f" val_return {history['val_return'][epoch]:#.4g} " in last
    assert "compiling" not in out  # `run_eagerly`
    assert "nan" not in out
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", out)


@pytest.mark.parametrize(
    "how",
    [
        {"terminal": False},
        {"terminal": False, "verbose": 1},
        {"term": "dumb"},
        {"verbose": 2},
        {"verbose": 2, "columns": 20},
    ],
    ids=str,
)
def test_elsewhere_an_epoch_is_one_line_without_control_characters(how, monkeypatch):
    out, history = shown(monkeypatch, **how)
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", out)
    lines = out.splitlines()
    if how.get("verbose") != 2:
        assert lines.pop(0) == START
    assert len(lines) == 2
    for epoch, text in enumerate(lines):
        assert len(text) < how.get("columns", 80)
        assert f"{epoch + 1}/2 " in text
        assert f"return {history['return'][epoch]:#.4g}" in text
        assert "━" not in text


def test_a_notebook_is_drawn_over_without_widgets(monkeypatch):
    out, _ = shown(monkeypatch, notebook=True)
    assert out.count("\r") >= 4
    assert out.count("\n") == 3


@pytest.mark.parametrize("columns", [1, 8, 20, 40, 80])
@pytest.mark.parametrize(("num_envs", "steps", "more"), [(1, 1280, "an id or a callable as `env`"), (32, 40960, "")])
def test_the_first_line_says_what_fits(columns, num_envs, steps, more):
    text = first_line(columns, num_envs, steps, more)
    assert len(text) < columns
    parts = [(" envs", 8), (f" environment{'s' if num_envs > 1 else ''}", 20), (f", {steps:,} steps an epoch", 40)]
    for part, least in parts[1:] if columns > 8 else parts[:1]:
        assert (part in text) == (columns >= least)
    assert (f"; {more} for more" in text) == bool(more and columns == 80)


@pytest.mark.parametrize(
    ("env", "more"), [("id", "`num_envs`"), ("object", "an id or a callable as `env`"), ("vector", "")]
)
def test_the_first_line_says_how_to_have_more(env, more, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "120")
    envs = {
        "id": "tf/CartPole-v1",
        "object": gymnasium.make("CartPole-v1"),
        "vector": krp.envs.make_native("tf/CartPole-v1", 2),
    }
    agent = krp.RandomAgent(krp.networks.feed_forward("tf/CartPole-v1", (), value=False), rollout_steps=2)
    agent.compile(run_eagerly=True)
    agent.fit(envs[env], steps_per_epoch=3, **({"num_envs": 2} if env == "id" else {}))
    first = capsys.readouterr().out.splitlines()[0]
    count = 1 if env == "object" else 2
    assert first == f"{count} environment{'s' if count > 1 else ''}, {count * 6} steps an epoch" + (
        f"; {more} for more" if more else ""
    )


def test_ascii_where_the_terminal_knows_nothing_else(monkeypatch):
    out, _ = shown(monkeypatch, encoding="ascii")
    assert out.isascii()
    assert re.search(r"Epoch 2/2 =+ ", out)


def test_a_process_without_standard_output_trains(monkeypatch):
    progress = Progress()
    progress.set_params({"verbose": "auto", "epochs": 1, "steps": 1})
    monkeypatch.setattr("sys.stdout", None)
    progress._epoch, progress._logs, progress._done = 0, {}, 0
    progress._draw("")
    progress._print("x")


def test_progress_can_be_silent_or_the_users_own(monkeypatch):
    assert shown(monkeypatch, verbose=0)[0] == ""
    out, _ = shown(monkeypatch, verbose=2, callbacks=[keras.callbacks.ProgbarLogger()])
    assert out.count("env_steps: ") == 2
    assert "steps  " not in out


def test_an_error_begins_a_line_of_its_own(monkeypatch):
    def fail(batch, logs):
        raise RuntimeError("stop")

    screen = Screen(True)
    agent = krp.PPO(rollout_steps=8, minibatches=1, update_epochs=1)
    agent.compile(run_eagerly=True)
    failing = keras.callbacks.LambdaCallback(on_train_batch_end=fail)
    monkeypatch.setattr("sys.stdout", screen)
    with pytest.raises(RuntimeError, match="stop"):
        agent.fit("tf/CartPole-v1", steps_per_epoch=1, num_envs=2, callbacks=[failing])
    assert screen.getvalue().endswith("\n")


def test_evaluate_prints_one_line_the_return_first(monkeypatch):
    agent = krp.RandomAgent()
    for verbose, expected in (("auto", r"return [\d.]+  length [\d.]+  return_std [\d.]+\n"), (0, "")):
        screen = Screen(True)
        with monkeypatch.context() as patched:
            patched.setattr("sys.stdout", screen)
            agent.evaluate("tf/CartPole-v1", episodes=2, verbose=verbose)
        assert re.fullmatch(expected, screen.getvalue())


# ---- a clock that the test winds ------------------------------------------------------------------------------


class Clock:
    """Time that passes only when told."""

    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def played(monkeypatch):
    """Plays epochs of 4 executions of 10 gradient steps, 100 environment steps each; returns what is drawn."""
    clock, drawn = Clock(), []
    monkeypatch.setattr("keras_rl_prob.learning.progress.callback.time", clock)
    monkeypatch.setattr("keras_rl_prob.learning.progress.step_rate.time", clock)
    monkeypatch.setattr("sys.stdout", Screen(True))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    model = types.SimpleNamespace(env_steps=tf.Variable(1000), run_eagerly=False, budget=None)
    rate = StepRate()
    progress = Progress(rate)
    monkeypatch.setattr(progress, "_draw", lambda end: drawn.append(progress._line(0.5, end)))
    for one in (rate, progress):
        one.set_model(model)
        one.set_params({"verbose": 1, "epochs": 3, "steps": 40})
        one.on_train_begin()
    logs = []

    def play(epoch, seconds, gap):
        for one in (rate, progress):
            one.on_epoch_begin(epoch)
        for i, x in enumerate(seconds):
            for one in (rate, progress):
                one.on_train_batch_begin(10 * i)
            clock.now += x
            model.env_steps.assign_add(100)
            batch = {"env_steps": model.env_steps.numpy(), "return": math.nan}
            for one in (rate, progress):
                one.on_train_batch_end(10 * i + 9, batch)
        logs.append(dict(batch))
        for one in (rate, progress):
            one.on_epoch_end(epoch, logs[-1])
        clock.now += gap
        return drawn, logs

    return play


def test_time_left_and_rates_do_not_count_what_compiles(played):
    drawn, logs = played(0, [50.0, 2.0, 2.0, 2.0], gap=30.0)
    assert drawn[0].endswith("compiling")
    assert "return" not in "".join(drawn)
    assert drawn[1] == "Epoch 1/3 ━━━━━━────── 1,100/2.20k steps"  # neither rate nor time left is known yet
    assert drawn[2] == "Epoch 1/3 ━━━━━━────── 1,200/2.20k steps  50/s  0:20"  # ten executions of 2 s
    assert logs[0]["env_steps_per_second"] == 50.0
    drawn, _ = played(1, [2.0] * 4, gap=3.0)
    assert drawn[-1].endswith("0:08")
    drawn, logs = played(2, [2.0] * 4, gap=0.0)
    assert drawn[-4].endswith("0:06")
    assert drawn[-1].endswith("0:00")
    assert logs[2]["env_steps_per_second"] == 50.0


def test_an_epoch_that_a_callback_ends_with_its_first_execution_has_the_rate_of_that(played):
    _, logs = played(0, [50.0], gap=0.0)
    assert logs[0]["env_steps_per_second"] == 100 / 50.0


def test_time_left_counts_validations_of_later_epochs(played):
    played(0, [50.0, 2.0, 2.0, 2.0], gap=30.0)  # which compiles the evaluation
    played(1, [2.0] * 4, gap=3.0)
    drawn, _ = played(2, [2.0] * 2, gap=0.0)
    assert drawn[-1].endswith("0:04")


def test_the_rate_is_in_history_and_files(tmp_path, monkeypatch):
    log = krp.callbacks.RunLog(tmp_path / "log.csv")
    plain = keras.callbacks.CSVLogger(str(tmp_path / "keras.csv"))
    _, history = shown(monkeypatch, verbose=0, callbacks=[log, plain])
    assert all(rate > 10 for rate in history["env_steps_per_second"])
    for name in ("log.csv", "keras.csv"):
        header, *rows = (tmp_path / name).read_text().splitlines()
        rates = [float(row.split(",")[header.split(",").index("env_steps_per_second")]) for row in rows]
        np.testing.assert_allclose(rates, history["env_steps_per_second"])
