"""Play episodes with the agent of a run and report their mean return and length.

The agent acts deterministically (the mode of its policy) unless --stochastic is given.
The same --seed gives the same episodes.

Examples:
  keras-rl-prob evaluate runs/20260131T093000-pendulum
  keras-rl-prob evaluate runs/20260131T093000-pendulum --checkpoint final --episodes 1000
  keras-rl-prob evaluate runs/20260131T093000-pendulum --checkpoint elsewhere/agent.keras --stochastic
"""

import argparse
import pathlib

from keras_rl_prob import presets
from keras_rl_prob.agents.arguments import evaluation_envs
from keras_rl_prob.cli import configs, runs
from keras_rl_prob.cli.errors import blaming


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `evaluate` takes."""
    parser.add_argument("run", type=pathlib.Path, metavar="RUN", help="a run folder")
    parser.add_argument("--episodes", type=configs.positive, default=100, metavar="N", help="default: 100")
    parser.add_argument("--checkpoint", default="best", metavar="best|final|FILE", help="which agent; default: best")
    parser.add_argument("--stochastic", action="store_true", help="sample actions from the policy")
    parser.add_argument("--seed", type=configs.seed, default=0, metavar="N", help="default: 0")


def run(args: argparse.Namespace) -> None:
    """Evaluates and prints."""
    config = runs.read_config(args.run)
    agent = runs.load_agent(args.run, args.checkpoint)
    with blaming(None, *configs.WRONG):
        result = agent.evaluate(
            presets.make_env(config, validation=True, num_envs=evaluation_envs(args.episodes, 1)),
            episodes=args.episodes,
            deterministic=not args.stochastic,
            seed=args.seed,
            return_dict=True,
            verbose=0,
        )
    how = "stochastic" if args.stochastic else "deterministic"
    print(f"{config['env']['id']}, {args.episodes} {how} episodes of {args.checkpoint}:")
    print(f"mean return {result['return']:.2f}, mean length {result['length']:.1f}")
