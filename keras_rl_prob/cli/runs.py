"""Run folders, which `train` writes and the other commands read."""

import csv
import json
import pathlib
import re
import time
import zipfile
from typing import Any

import keras

import keras_rl_prob as krp
from keras_rl_prob import presets
from keras_rl_prob.agents import Agent
from keras_rl_prob.cli import configs
from keras_rl_prob.cli.errors import UserError, blaming
from keras_rl_prob.learning.persistence import write_whole
from keras_rl_prob.types import Path

CONFIG, LOG, BEST, FINAL, CURVE = "config.json", "log.csv", "best.keras", "final.keras", "curve.png"


def create(logdir: Path, name: str) -> pathlib.Path:
    """Makes and returns the new folder `<logdir>/<time>-<name>`."""
    stem = pathlib.Path(logdir) / f"{time.strftime('%Y%m%dT%H%M%S')}-{re.sub('[/:]', '_', str(name))}"
    for folder in (stem, *(stem.with_name(f"{stem.name}-{i}") for i in range(2, 1000))):
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise
        else:
            return folder
    raise UserError(f"{stem} and 998 more exist already")


def write_config(folder: pathlib.Path, config: dict[str, Any]) -> None:
    """Writes a complete configuration into a run folder, atomically."""
    text = json.dumps({**config, "version": krp.__version__}, indent=2)
    write_whole(folder / CONFIG, lambda part: part.write_text(f"{text}\n", encoding="utf-8"))


def read_config(folder: pathlib.Path) -> dict[str, Any]:
    """The configuration of a run folder."""
    path = pathlib.Path(folder) / CONFIG
    if not path.is_file():
        raise UserError(
            f"{folder} is not a run folder: it has no {CONFIG}. Give one that `keras-rl-prob train` has made"
        )
    config = configs.read(path)
    _name_module(path, config)
    with blaming(f"{path} is not a configuration", *configs.WRONG):
        config = presets.complete(config)
        if not isinstance(config.get("seed"), int):
            raise ValueError("it has no seed")
    return config


def _name_module(path, config):
    """Prints which module `env.id` of a run folder, perhaps somebody else's, imports."""
    env = config.get("env") if isinstance(config, dict) else None
    module, colon, _ = str(env.get("id", "") if isinstance(env, dict) else "").rpartition(":")
    if colon:
        print(f"{path} imports the module {module!r} for its environment", flush=True)


def seeds_of(folder: pathlib.Path) -> list[pathlib.Path]:
    """The run folders in the folder of an experiment, or the run folder itself."""
    folder = pathlib.Path(folder)
    if (folder / CONFIG).is_file():
        return [folder]
    found = [path.parent for path in folder.glob(f"seed_*/{CONFIG}")]
    return sorted(found, key=lambda path: (len(path.name), path.name)) or [folder]


def runs_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """The run folders that have a log in a folder of runs and experiments, those of an experiment, or the run folder itself."""
    found = seeds_of(folder)
    if found != [folder] or (folder / CONFIG).is_file():
        return [run for run in found if (run / LOG).is_file()] or found
    inner = sorted(path.parent for path in folder.glob(f"*/{LOG}"))
    experiments = sorted({path.parent.parent for path in folder.glob(f"*/seed_*/{LOG}")})
    return inner + [run for one in experiments for run in seeds_of(one) if (run / LOG).is_file()] or [folder]


def log_rows(folder: pathlib.Path) -> list[dict[str, str]]:
    """The lines of a run's log, a list of dicts of strings."""
    path = pathlib.Path(folder) / LOG
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames and reader.fieldnames[0] != "epoch":
            raise UserError(f"{path} is not a log of epochs: it begins with {reader.fieldnames[0][:40]!r}")
        return list(reader)


def folder_of(run: pathlib.Path) -> pathlib.Path:
    """The run folder that is meant by it or a `.keras` file in it."""
    if run.suffix != ".keras":
        return run
    if not (run.parent / CONFIG).is_file():
        raise UserError(f"{run} is in no run folder: name the environment, as in --env CartPole-v1")
    return run.parent


def agent_at(run: pathlib.Path, checkpoint: str | None) -> tuple[Agent, str]:
    """The agent of a run folder, by default the best one, or of a `.keras` file, and what to call it."""
    if run.suffix != ".keras":
        return load_agent(run, checkpoint or "best"), checkpoint or "best"
    if checkpoint is not None:
        raise UserError(f"--checkpoint chooses an agent of a run folder, and {run} is one agent: leave out either")
    return load_agent(run.parent, str(run)), run.name


def load_agent(folder: pathlib.Path, checkpoint: str = "best") -> Agent:
    """The agent of a run.

    Args:
        folder: A run folder.
        checkpoint: `"best"`, `"final"` or the path of a `.keras` file.
    """
    path = pathlib.Path(folder) / {"best": BEST, "final": FINAL}.get(checkpoint, "")
    path = path if checkpoint in ("best", "final") else pathlib.Path(checkpoint)
    if not path.is_file():
        there = sorted(p.name for p in pathlib.Path(folder).glob("*.keras"))
        raise UserError(f"There is no {path}. {folder} has {', '.join(there) or 'no .keras file yet'}")
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} cannot be loaded: it is truncated, or not a .keras file")
    with blaming(f"{path} cannot be loaded", Exception):
        agent = keras.saving.load_model(path)
    if not isinstance(agent, krp.Agent):
        raise UserError(f"{path} holds a {type(agent).__name__}, not an agent")
    return agent
