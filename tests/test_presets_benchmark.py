"""`benchmarks/presets.py`, by which presets are compared with a random agent: its table, its file, and a training."""

import json
import pathlib
import subprocess
import types

import keras
import pytest

import keras_rl_prob as krp

SCRIPT = pathlib.Path(__file__).parents[1] / "benchmarks" / "presets.py"
ROW = {
    "preset": "cartpole", "seed": 1, "budget": 10.0, "agent": "PPO", "steps": 123_456, "complete": True, "minutes": 2.25,
    "elapsed": 3.0, "return": 499.96, "return_std": 1.0, "random": 22.2, "random_std": 12.0, "episodes": 100, "training": {},
}  # fmt: skip


@pytest.fixture
def script(monkeypatch):
    """A new copy of the module, which is no part of a package."""
    module = types.ModuleType("benchmark_of_presets")
    module.__file__ = str(SCRIPT)
    exec(compile(SCRIPT.read_text(), str(SCRIPT), "exec"), vars(module))  # noqa: S102
    return module


def write(folder, *lines):
    (folder / "presets.jsonl").write_text("\n".join(lines))


def test_of_each_preset_the_line_with_the_most_time_counts_and_one_that_was_cut_off_does_not(script, tmp_path):
    assert script.rows(tmp_path) == {}
    short, later, other = ROW | {"budget": 1.0}, ROW | {"steps": 9}, ROW | {"preset": "recall", "error": "no"}
    whole = [json.dumps(row) for row in (ROW, short, other)]
    write(tmp_path, *whole, json.dumps(ROW | {"budget": 30.0})[:-20], "", "\x00\x00")
    assert script.rows(tmp_path) == {"cartpole": ROW, "recall": other}
    write(tmp_path, *whole, json.dumps(later))
    assert script.rows(tmp_path)["cartpole"] == later  # of the same time the last


def test_a_line_after_one_that_was_cut_off_is_whole(script, tmp_path, monkeypatch):
    write(tmp_path, json.dumps(ROW)[:40])
    answers = [(0, json.dumps({"steps": 7})), (1, "ValueError: no"), (1, "")]

    def run(command, stdout, **options):
        results = ["--results", str(tmp_path)]
        assert command[2:] == [str(SCRIPT), "recall", "--one", "--seed", "3", "--scale", "0.5", *results]
        status, last = answers.pop(0)
        stdout.write(f"Epoch 1\n{last}" if last else last)
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(subprocess, "run", run)
    args = types.SimpleNamespace(seed=3, scale=0.5, results=tmp_path)
    head = {"preset": "recall", "seed": 3, "budget": 5.0}
    for expected in ({"steps": 7}, {"error": "ValueError: no"}, {"error": ""}):
        assert script.separate("recall", args, 5.0) == head | expected
        assert script.rows(tmp_path) == {"recall": head | expected}


def test_the_table_says_what_was_cut_off_was_not_learned_or_failed(script):
    # Two standard errors of the difference are 2 * sqrt((36 + 64) / 25) = 4.
    close = ROW | {"return_std": 6.0, "random_std": 8.0, "episodes": 25, "random": 20.0, "complete": False}
    found = {
        "recall": close | {"return": 24.1},
        "acrobot": close | {"return": 23.9},
        "pong": {"preset": "pong", "error": "MemoryError"},
        "cartpole": ROW,
    }
    head, rule, *lines = script.table(found)
    assert head.count("|") == rule.count("|") == 8
    assert lines == [
        "| `acrobot` | PPO | 123,456, cut off | 2.2 | 23.9, not learned at this budget | 20.0 |  |",
        "| `cartpole` | PPO | 123,456 | 2.2 | 500.0 | 22.2 | 500.0 (100,000) |",
        "| `pong` | failed | | | | | MemoryError |",
        "| `recall` | PPO | 123,456, cut off | 2.2 | 24.1 | 20.0 |  |",
    ]


def test_every_preset_has_its_time(script):
    budgets = {name: script.minutes(krp.presets.get(name), 1.0) for name in krp.presets.names()}
    assert set(budgets.values()) == {10.0, 30.0}
    assert (budgets["cartpole"], budgets["lunarlander"]) == (10.0, 10.0)
    assert {budgets[name] for name in ("pong", "cheetah_sac", "ant_bullet", "doom_basic_dqn")} == {30.0}
    assert set(script.PUBLISHED) <= set(budgets)


def test_a_training_ends_with_its_time_and_is_played_as_the_random_agent_was(script, monkeypatch, tmp_path):
    monkeypatch.setitem(script.EPISODES, "tf", 4)
    full = krp.presets.get("cartpole_a2c")
    eager = full | {
        "compile": {"run_eagerly": True},
        "env": full["env"] | {"num_envs": 2, "kwargs": {"max_episode_steps": 12}},
    }
    monkeypatch.setattr(krp.presets, "get", lambda name: eager)
    row = script.one("cartpole_a2c", 1, 1e-5, tmp_path)  # 6 ms
    assert (row["agent"], row["complete"], row["episodes"]) == ("A2C", False, 4)
    assert row["steps"] == 2 * krp.A2C().rollout_steps, "it went on after its time"
    assert row["minutes"] <= row["elapsed"] + 0.05 * row["minutes"] + 0.1
    assert 8 <= row["random"] <= 12
    assert 8 <= row["return"] <= 12
    assert row["training"]["env_steps"] == row["steps"]
    json.dumps(row)
    kept = keras.saving.load_model(tmp_path / "cartpole_a2c.keras")
    assert int(kept.env_steps) == row["steps"]
