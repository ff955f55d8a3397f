"""`train`: trains an agent, or resumes a run."""

import argparse
from typing import Any

from keras_rl_prob import checks
from keras_rl_prob.cli import configs, runs, training
from keras_rl_prob.cli.errors import UserError, blaming


def run(args: argparse.Namespace) -> int | None:
    """Trains; the exit status is 0 if the run is complete, else that of the signal."""
    if args.resume:
        config = resumed(args)
        if training.is_complete(args.resume, config):
            done = len(runs.log_rows(args.resume))
            print(
                f"{args.resume} is complete, with {done} epochs. To train for longer: --resume {args.resume} --epochs N"
            )
            return 0
        agent, folder = training.built(config), args.resume
        if config != runs.read_config(folder):
            runs.write_config(folder, config)
    else:
        if args.collectors:
            args.set = [*args.set, f"env.collectors={args.collectors}"]
        config = configs.from_arguments(args)
        agent = training.built(config)
        training.check_collectors(agent, config, args.address)
        folder = runs.create(args.logdir, config["name"])
        runs.write_config(folder, config)
    signal = training.fit(agent, folder, config, args.address)
    if signal:
        done = len(runs.log_rows(folder))
        print(
            f"Stopped after epoch {done} of {config['fit']['epochs']}. To continue: keras-rl-prob train --resume {folder}"
        )
        return 128 + signal
    print(f"Done. To evaluate the agent: keras-rl-prob evaluate {folder}")
    return 0


def resumed(args: argparse.Namespace) -> dict[str, Any]:
    """The configuration of the run to resume; only its number of epochs can be changed, which then have as many steps."""
    config = runs.read_config(args.resume)
    changes = configs.changes(args)
    if args.collectors or set(changes) - {"fit.epochs"}:
        raise UserError(
            "--resume continues with the settings of the run. Only more epochs can be given, with --epochs N"
        )
    with blaming(None, *configs.WRONG):
        epochs = changes.get("fit.epochs", config["fit"]["epochs"])
        checks.integer("fit.epochs", epochs)
    if epochs < config["fit"]["epochs"] and not training.is_complete(args.resume, config):
        raise UserError(
            f"--epochs must be at least {config['fit']['epochs']}, those of the run. Only more epochs can be given"
        )
    if config["fit"].get("env_steps"):
        config["fit"]["env_steps"] = config["fit"]["env_steps"] * epochs // config["fit"]["epochs"]
    config["fit"]["epochs"] = epochs
    return config
