"""Train an agent, or resume a run that was interrupted.

A run writes everything to a new folder <logdir>/<time>-<config>:
  config.json    all settings, the seed and the version; `train --config` takes it too
  log.csv        one line for each epoch
  best.keras     the agent with the best val_return so far
  final.keras    the agent at the end, written when the run is complete
  backup/        the training state after the last epoch, for --resume
  tensorboard/   for `tensorboard --logdir` (with the extra `tensorboard`)
  curve.png      the learning curve (with the extra `plot`)

Ctrl-C and SIGTERM end the run after the current epoch, with everything saved; a second one
ends it at once, with everything of the epochs before. --resume continues as if the run had
not been interrupted: on native environments (tf/...) the result is bit-identical. To train a complete
run for longer, give it more epochs; learning rates that decay stay at their final value.

Examples:
  keras-rl-prob train --config pendulum
  keras-rl-prob train --config cartpole --set env.id=CartPole-v1 --set agent.clip_ratio=0.1 --seed 3
  keras-rl-prob train --config cartpole --set 'network={"builder": "recurrent", "cell": "gru"}'
  keras-rl-prob train --resume runs/20260131T093000-pendulum
  keras-rl-prob train --resume runs/20260131T093000-pendulum --epochs 20
  keras-rl-prob train --config pong_impala --collectors 4
  keras-rl-prob train --config pong_impala --collectors 64 --address auto
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
    parser.add_argument(
        "--collectors",
        type=configs.positive,
        metavar="N",
        help="processes that collect; short for --set env.collectors=N",
    )
    parser.add_argument("--address", metavar="ADDRESS", help="Ray cluster of the collectors: auto or host:port")
    parser.add_argument("--resume", type=pathlib.Path, metavar="RUN", help="a run folder to resume")


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
    """The configuration of the run to resume; only its number of epochs can be changed."""
    config = runs.read_config(args.resume)
    changes = dict(configs.overrides(args))
    if args.config or args.collectors or args.seed is not None or set(changes) - {"fit.epochs"}:
        raise UserError(
            "--resume continues with the settings of the run. Only more epochs can be given, with --epochs N"
        )
    with blaming(None, *configs.WRONG):
        epochs = changes.get("fit.epochs", config["fit"]["epochs"])
        checks.integer("fit.epochs", epochs)
    config["fit"]["epochs"] = epochs
    return config
