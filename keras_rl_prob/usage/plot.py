"""Plot the learning curves of runs in one figure.

Runs that differ only in their seeds are one curve, the mean, with a band from
the worst to the best. The folder of an experiment, or any folder of runs and
experiments, stands for all runs in it. Needs the extra `plot`.

Examples:
  keras-rl-prob plot runs/20260131T093000-pendulum
  keras-rl-prob plot runs --out all.png
  keras-rl-prob plot runs/*-pendulum runs/*-pendulum_kl --title Pendulum
  keras-rl-prob plot runs --metric entropy --smoothing 5 --band deviation
"""

import argparse
import pathlib

from keras_rl_prob.usage import arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `plot` takes."""
    parser.add_argument(
        "runs", nargs="+", type=pathlib.Path, metavar="RUN", help="run folders, experiments, or folders of them"
    )
    parser.add_argument("--out", default="curve.png", type=pathlib.Path, metavar="FILE", help="default: curve.png")
    parser.add_argument("--title", metavar="TEXT", help="default: the environment")
    parser.add_argument("--metric", metavar="NAME", help="a column of log.csv, such as entropy; default: the return")
    parser.add_argument(
        "--smoothing", type=arguments.positive, default=1, metavar="N", help="epochs to average over; default: 1"
    )
    parser.add_argument("--band", choices=("range", "deviation"), default="range", help="of the seeds; default: range")
    parser.add_argument(
        "--colours", nargs="+", metavar="COLOUR", help="Matplotlib's colours of the curves, such as tab:blue or #d55e00"
    )
