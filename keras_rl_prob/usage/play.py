"""Watch an agent play, in a window or in the terminal, or play yourself.

RUN is a run folder, or a .keras file. The environment is that of the run; a
file outside of a run folder needs --env, and --keyboard needs nothing else.
Without a display the terminal is the window. With --keyboard each step waits
for a key, which the last line shows, unless --default is given; q ends.

Examples:
  keras-rl-prob play runs/20260131T093000-pendulum
  keras-rl-prob play agent.keras --env CartPole-v1 --show terminal --fps 10
  keras-rl-prob play --keyboard --env CartPole-v1
  keras-rl-prob play --keyboard --env MountainCar-v0 --default 1 --fps 15
"""

import argparse
import pathlib

from keras_rl_prob.usage import arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `play` takes."""
    parser.add_argument("run", nargs="?", type=pathlib.Path, metavar="RUN|FILE", help="a run folder, or a .keras file")
    parser.add_argument("--env", metavar="ID", help="the environment; default: that of the run")
    parser.add_argument("--keyboard", action="store_true", help="play yourself, in a terminal")
    parser.add_argument(
        "--default", type=int, metavar="ACTION", help="with --keyboard: go on with this action while no key is pressed"
    )
    parser.add_argument("--episodes", type=arguments.positive, default=1, metavar="N", help="default: 1")
    parser.add_argument("--checkpoint", metavar="best|final|FILE", help="which agent; default: best")
    parser.add_argument("--stochastic", action="store_true", help="sample actions from the policy")
    parser.add_argument("--epsilon", type=float, default=0.0, metavar="P", help="probability of a random action")
    parser.add_argument("--show", choices=("window", "terminal"), help="where; default: window if there is a display")
    parser.add_argument("--fps", type=float, metavar="N", help="frames a second; default: those of the environment")
    parser.add_argument("--seed", type=arguments.seed, default=0, metavar="N", help="of the first episode; default: 0")
