"""`tune`: searches for better settings with KerasTuner."""

import argparse
import importlib.util
import json
import math
import os
import signal
import sys

import keras

from keras_rl_prob import presets
from keras_rl_prob.cli import configs, runs, side_by_side
from keras_rl_prob.cli.errors import UserError, blaming
from keras_rl_prob.learning.persistence import write_whole
from keras_rl_prob.presets.configuration import lookup

SEARCH = {
    "optimizer.learning_rate": "1e-4:3e-3:log",
    "optimizer.learning_rate.initial_learning_rate": "1e-4:3e-3:log",
    "agent.entropy_coef": "1e-4:3e-2:log",
    "agent.clip_ratio": "0.1:0.3",
    "agent.gae_lambda": "0.9,0.95,0.98",
    "agent.discount": "0.95,0.99,0.995",
    "agent.update_epochs": "2,4,8",
}
TRIALS, TUNING, BEST = 10, "tuning.json", "best.json"
TRIALS_OF_A_PROCESS = 10  # TensorFlow keeps what it has compiled, 65 MiB a trial, until its process ends
SYNTAX = "--search takes KEY=LOW:HIGH, KEY=LOW:HIGH:log or KEY=A,B,C"


def run(args: argparse.Namespace) -> int | None:
    """Searches, and prints the best settings."""
    keras_tuner = _keras_tuner()
    tuning = _resumed(args) if args.resume else _asked(args)
    with blaming(None, *configs.WRONG):
        _agent(tuning, keras_tuner.HyperParameters())  # raises errors before a folder is created
        config = presets.complete(tuning["config"])
    if args.part:  # a process of a longer search
        return _search(_tuner(keras_tuner, tuning, config, args.resume, args.part), args.resume)
    folder = args.resume or runs.create(args.logdir, f"{config['name']}-tuning")
    _write(folder / TUNING, tuning)
    tuner, trials = _tuner(keras_tuner, tuning, config, folder, tuning["trials"]), tuning["trials"]
    ended = len(tuner.oracle.end_order)
    if trials - ended <= TRIALS_OF_A_PROCESS:
        status = _search(tuner, folder)
    else:
        parts = range(ended + TRIALS_OF_A_PROCESS, trials + TRIALS_OF_A_PROCESS, TRIALS_OF_A_PROCESS)
        status = next(filter(None, (_search_apart(folder, min(part, trials)) for part in parts)), 0)
        tuner = tuner if status else _tuner(keras_tuner, tuning, config, folder, trials)  # with what they have found
    return status or _report(tuner, tuning, folder)


def _tuner(keras_tuner, tuning, config, folder, trials):
    """The tuner of a search, which goes on where the files in its folder end."""

    class Trial(keras_tuner.HyperModel):  # type: ignore[name-defined]
        """Trains an agent as its configuration says, environments and budget included, and validates it after each epoch."""

        def build(self, hp):
            return _agent(tuning, hp)

        def fit(self, hp, model, **options):
            config = _drawn_config(tuning, hp)
            env = {"num_envs": config["env"]["num_envs"], "env_processes": config["env"]["processes"]}
            env["collectors"] = config["env"]["collectors"]
            settings = config["fit"] | {"validation_freq": 1}
            validation = presets.make_env(config, validation=True)
            made = presets.make_env(config)
            return model.fit(made, **settings, validation_data=validation, **env, seed=config["seed"], **options)

    return keras_tuner.RandomSearch(
        Trial(),
        objective=keras_tuner.Objective("val_return", "max"),
        max_trials=trials,
        seed=config["seed"],
        directory=folder.parent,
        project_name=folder.name,
    )


def _search(tuner, folder):
    """Runs the trials that are missing; returns the exit status."""
    try:
        tuner.search(verbose=2)
    except KeyboardInterrupt:
        print(f"Stopped. To continue: keras-rl-prob tune --resume {folder}")
        return 130
    except RuntimeError as error:  # too many trials have failed
        raise UserError(str(error).strip().splitlines()[-1]) from error
    return 0


def _search_apart(folder, trials):
    """Searches in a process of its own until so many trials are done; returns its exit status."""
    process = side_by_side.started(["tune", "--resume", os.fspath(folder), "--part", str(trials)])
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        return process.wait()
    finally:
        process.kill()
        process.communicate()  # closes its input


def _asked(args):
    """The search space and the configuration that it changes."""
    config = configs.asked(args)
    if not all(text.partition("=")[0] and text.partition("=")[2] for text in args.search):
        raise UserError(f"{SYNTAX}. Received: {args.search}")
    search = dict(text.partition("=")[::2] for text in args.search)
    with blaming(None, *configs.WRONG):
        full = presets.complete(config)
    search = search or {key: text for key, text in SEARCH.items() if isinstance(lookup(full, key), int | float)}
    return {"config": config, "search": search, "trials": args.trials or TRIALS}


def _resumed(args):
    """The same, from the folder of a search."""
    if args.search or configs.changes(args):
        raise UserError("--resume continues with the settings of the search. Only --trials can be given")
    path = args.resume / TUNING
    if not path.is_file():
        raise UserError(
            f"{args.resume} is not a search: it has no {TUNING}. Give a folder that `keras-rl-prob tune` has made"
        )
    tuning = configs.read(path)
    if not isinstance(tuning, dict) or not {"config", "search", "trials"} <= set(tuning):
        raise UserError(f"{path} is not what `keras-rl-prob tune` has written")
    return {**tuning, "trials": args.trials or tuning["trials"]}


def _agent(tuning, hp):
    """The agent of a trial, built for its environment."""
    config = _drawn_config(tuning, hp)
    keras.utils.set_random_seed(config["seed"])
    agent = presets.build(config)
    agent.build(presets.make_env(config))
    return agent


def _drawn_config(tuning, hp):
    """The whole configuration of a trial."""
    return presets.complete(_with(tuning, {key: _drawn(hp, key, text) for key, text in tuning["search"].items()}))


def _with(tuning, values):
    """A copy of the configuration with other values."""
    config = json.loads(json.dumps(tuning["config"]))
    for key, value in values.items():
        presets.assign(config, key, value)
    return config


def _drawn(hp, key, text):
    """The value of a hyperparameter, whose possible values `text` gives."""
    low, *rest = text.split(":")
    if not rest:
        choices = [configs.value(part) for part in text.split(",")]
        choices = [float(x) for x in choices] if {type(x) for x in choices} == {int, float} else choices
        if len({type(x) for x in choices}) > 1 or not all(map(_is_drawable, choices)):
            raise ValueError(f"--search KEY=A,B,C takes finite numbers, strings, or true,false. Received: {key}={text}")
        return hp.Boolean(key) if choices in ([True, False], [False, True]) else hp.Choice(key, choices)
    low, high = configs.value(low), configs.value(rest[0])
    if rest[1:] not in ([], ["log"]) or not (_is_number(low) and _is_number(high) and low < high):
        raise ValueError(f"{SYNTAX}, with LOW below HIGH. Received: {key}={text}")
    if rest[1:] and low <= 0:
        raise ValueError(f"--search KEY=LOW:HIGH:log takes positive numbers. Received: {key}={text}")
    make = hp.Int if isinstance(low, int) and isinstance(high, int) else hp.Float
    return make(key, low, high, sampling="log" if rest[1:] else "linear")


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_drawable(value):
    return isinstance(value, str | bool) or _is_number(value)


def _report(tuner, tuning, folder):
    """Writes and prints the best settings."""
    trials = [trial for trial in tuner.oracle.get_best_trials(1) if trial.score is not None]
    if not trials:
        messages = [trial.message for trial in tuner.oracle.trials.values() if trial.message]
        first = messages[0].strip().splitlines()[-1] if messages else "see the files trial.json in its folder"
        print(f"keras-rl-prob tune: No trial of {folder} has finished. The first failed with: {first}", file=sys.stderr)
        return 1
    values = trials[0].hyperparameters.values
    _write(folder / BEST, _with(tuning, values))
    print(f"Best val_return: {trials[0].score:.2f}")
    for key, value in values.items():
        print(f"  {key}={value}")
    print(f"To train with it: keras-rl-prob train --config {folder / BEST}")
    return 0


def _write(path, content):
    write_whole(path, lambda part: part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8"))


def _keras_tuner():
    try:
        import keras_tuner  # noqa: PLC0415 (optional dependency)
    except ImportError:
        keras_tuner = None
    if keras_tuner is None or importlib.util.find_spec("tensorboard") is None:  # without it every trial fails
        raise UserError('`tune` needs KerasTuner and TensorBoard: pip install "keras_rl_prob[tuner]"')
    return keras_tuner
