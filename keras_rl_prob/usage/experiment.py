"""Train with several seeds and compare the results.

What is trained: ENV with the defaults of --agent, or the preset or file of
--config.
The folder <logdir>/<time>-<name>-experiment holds a run folder for each seed
(seed_1, ...) and curve.png, the mean of their learning curves with a band from
the worst to the best. With --processes N runs train side by side, each in a
process of its own, and print into output.txt of their folder. The table has
the mean return of the final agent of each seed over deterministic episodes,
and the 95 % bootstrap confidence interval of the mean. After Ctrl-C or
SIGTERM, --resume continues with the interrupted seed and the remaining ones;
with --seeds N it goes on until there are N.

Examples:
  keras-rl-prob experiment CartPole-v1 --agent A2C --seeds 3
  keras-rl-prob experiment --config pendulum --seeds 5 --episodes 1000
  keras-rl-prob experiment --config pendulum --seeds 8 --processes 4
  keras-rl-prob experiment --config pendulum --set agent.clip_ratio=0.1
  keras-rl-prob experiment --resume runs/20260131T093000-pendulum-experiment
"""

import argparse
import pathlib

from keras_rl_prob.usage import arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `experiment` takes."""
    arguments.add_arguments(parser)
    parser.add_argument(
        "--seeds", type=arguments.positive, metavar="N", help="how many, from --seed (1) on; default: 5"
    )
    parser.add_argument("--episodes", type=arguments.positive, metavar="N", help="of each evaluation; default: 100")
    parser.add_argument(
        "--processes", type=arguments.positive, default=1, metavar="N", help="runs that train at a time; default: 1"
    )
    parser.add_argument(
        "--band",
        choices=("range", "deviation"),
        default="range",
        metavar="KIND",
        help="of curve.png: range (default) or deviation",
    )
    parser.add_argument("--logdir", default="runs", type=pathlib.Path, metavar="FOLDER", help="default: runs")
    parser.add_argument(
        "--resume", type=pathlib.Path, metavar="EXPERIMENT", help="the folder of an experiment to resume"
    )
