"""Play episodes with a trained agent and report their mean return and length.

RUN is a run folder, or a .keras file. The environment is that of the run; a
file outside of a run folder needs --env. The agent acts deterministically (the
mode of its policy) unless --stochastic is given, and at random with probability
--epsilon. The same --seed gives the same episodes.

Examples:
  keras-rl-prob evaluate runs/20260131T093000-pendulum
  keras-rl-prob evaluate runs/20260131T093000-pendulum --checkpoint final
  keras-rl-prob evaluate agent.keras --env CartPole-v1 --episodes 1000
"""

import argparse
import pathlib

from keras_rl_prob.usage import arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `evaluate` takes."""
    parser.add_argument("run", type=pathlib.Path, metavar="RUN|FILE", help="a run folder, or a .keras file")
    parser.add_argument("--env", metavar="ID", help="the environment; default: that of the run")
    parser.add_argument("--episodes", type=arguments.positive, default=100, metavar="N", help="default: 100")
    parser.add_argument("--checkpoint", metavar="best|final|FILE", help="which agent; default: best")
    parser.add_argument("--stochastic", action="store_true", help="sample actions from the policy")
    parser.add_argument("--epsilon", type=float, default=0.0, metavar="P", help="probability of a random action")
    parser.add_argument("--seed", type=arguments.seed, default=0, metavar="N", help="default: 0")
