"""Train an agent, or go on with a training that was cut short.

A training leaves everything about it in a new folder <logdir>/<time>-<config>:
  config.json    all settings, the seed and the version; `train --config` takes it too
  log.csv        one line for each epoch
  best.keras     the agent with the best val_return so far
  final.keras    the agent at the end; a training is complete when it is there
  backup/        where the training stands after its last epoch, for --resume
  tensorboard/   for `tensorboard --logdir` (with the extra `tensorboard`)
  curve.png      the learning curve (with the extra `plot`)

Ctrl-C and SIGTERM end the training after the epoch under way, with everything saved; a second one
ends it at once, with everything of the epochs before. --resume goes on as if nothing had
happened: on native environments (tf/...) the result is the same to the last bit. To train for
longer, give a complete training more epochs; learning rates that decay stay at their end.

Examples:
  keras-rl-prob train --config pendulum
  keras-rl-prob train --config cartpole --set env.id=CartPole-v1 --set agent.clip_ratio=0.1 --seed 3
  keras-rl-prob train --config cartpole --set 'network={"builder": "recurrent", "cell": "gru"}'
  keras-rl-prob train --resume runs/20260131T093000-pendulum
  keras-rl-prob train --resume runs/20260131T093000-pendulum --epochs 20
"""

import argparse
import pathlib
from typing import Any

from keras_rl_prob import checks
from keras_rl_prob.cli import configs, runs, training
from keras_rl_prob.cli.errors import UserError, blaming


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `train` takes."""
    configs.add_arguments(parser)
    parser.add_argument("--logdir", default="runs", type=pathlib.Path, metavar="FOLDER", help="default: runs")
    parser.add_argument("--resume", type=pathlib.Path, metavar="RUN", help="a run folder to go on with")


def run(args: argparse.Namespace) -> int | None:
    """Trains; the exit status is 0 when the training is complete, else that of the signal."""
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
        config = configs.from_arguments(args)
        agent = training.built(config)
        folder = runs.create(args.logdir, config["name"])
        runs.write_config(folder, config)
    signal = training.fit(agent, folder, config)
    if signal:
        done = len(runs.log_rows(folder))
        print(
            f"Stopped after epoch {done} of {config['fit']['epochs']}. To go on: keras-rl-prob train --resume {folder}"
        )
        return 128 + signal
    print(f"Done. To see how good it is: keras-rl-prob evaluate {folder}")
    return 0


def resumed(args: argparse.Namespace) -> dict[str, Any]:
    """The configuration of the run to go on with, which has no other settings than it had, except perhaps more epochs."""
    config = runs.read_config(args.resume)
    changes = dict(configs.overrides(args))
    if args.config or args.seed is not None or set(changes) - {"fit.epochs"}:
        raise UserError("--resume goes on with the settings of the run. Only more epochs can be given, by --epochs N")
    with blaming(None, *configs.WRONG):
        epochs = changes.get("fit.epochs", config["fit"]["epochs"])
        checks.integer("fit.epochs", epochs)
    config["fit"]["epochs"] = epochs
    return config
