"""Train an agent, or resume a run that was interrupted.

What is trained: ENV with the defaults of --agent, or the preset or file of
--config.
A run writes everything to a new folder <logdir>/<time>-<name>:
  config.json    all settings, the seed and the version, for `train --config`
  log.csv        one line for each epoch
  best.keras     the agent with the best val_return so far
  final.keras    the agent at the end, written when the run is complete
  backup/        the training state after the last epoch, for --resume
  tensorboard/   for `tensorboard --logdir` (with the extra `tensorboard`)
  curve.png      the learning curve (with the extra `plot`)

Ctrl-C and SIGTERM end the run after the current epoch, with everything saved; a
second one ends it at once, with everything of the epochs before. --resume
continues as if the run had not been interrupted: on native environments
(tf/...) the result is bit-identical. To train a complete run for longer, give
it more epochs; learning rates that decay stay at their final value.

Examples:
  keras-rl-prob train CartPole-v1 --agent PPO
  keras-rl-prob train Pendulum-v1 --epochs 20 --set agent.discount=0.95
  keras-rl-prob train --config cartpole --set env.id=CartPole-v1 --seed 3
  keras-rl-prob train --config cartpole --set 'network={"builder": "recurrent"}'
  keras-rl-prob train --resume runs/20260131T093000-pendulum
  keras-rl-prob train --resume runs/20260131T093000-pendulum --epochs 20
  keras-rl-prob train --config pong_impala --collectors 4
  keras-rl-prob train --config pong_impala --collectors 64 --address auto
"""

import argparse
import pathlib

from keras_rl_prob.usage import arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `train` takes."""
    arguments.add_arguments(parser)
    parser.add_argument("--logdir", default="runs", type=pathlib.Path, metavar="FOLDER", help="default: runs")
    parser.add_argument(
        "--collectors",
        type=arguments.positive,
        metavar="N",
        help="processes that collect; short for --set env.collectors=N",
    )
    parser.add_argument("--address", metavar="ADDRESS", help="Ray cluster of the collectors: auto or host:port")
    parser.add_argument("--resume", type=pathlib.Path, metavar="RUN", help="a run folder to resume")
