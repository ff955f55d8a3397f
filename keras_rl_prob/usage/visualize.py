"""Record episodes of a run's agent as videos.

Native environments (tf/...) are drawn by the Gymnasium environment with the
same physics. Needs the extra `video`.

Examples:
  keras-rl-prob visualize runs/20260131T093000-pendulum --outdir videos
  keras-rl-prob visualize runs/20260131T093000-pendulum --outdir . --format gif
"""

import argparse
import pathlib

from keras_rl_prob.usage import arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `visualize` takes."""
    parser.add_argument("run", type=pathlib.Path, metavar="RUN", help="a run folder")
    parser.add_argument("--outdir", type=pathlib.Path, required=True, metavar="FOLDER", help="where the videos go")
    parser.add_argument("--episodes", type=arguments.positive, default=5, metavar="N", help="default: 5")
    parser.add_argument("--format", choices=("mp4", "gif"), default="mp4", help="default: mp4")
    parser.add_argument("--checkpoint", default="best", metavar="best|final|FILE", help="which agent; default: best")
    parser.add_argument(
        "--max-frames", type=arguments.positive, default=1000, metavar="N", help="of each episode; default: 1000"
    )
    parser.add_argument("--seed", type=arguments.seed, default=0, metavar="N", help="of the first episode; default: 0")
