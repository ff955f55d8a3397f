"""`evaluate`: plays episodes and prints their mean return and length, and the standard deviation of returns."""

import argparse

from keras_rl_prob import presets
from keras_rl_prob.agents.arguments import evaluation_envs
from keras_rl_prob.cli import configs, runs
from keras_rl_prob.cli.errors import blaming


def run(args: argparse.Namespace) -> None:
    """Evaluates and prints."""
    env = _env(args)
    agent, checkpoint = runs.agent_at(args.run, args.checkpoint)
    with blaming(None, *configs.WRONG):
        result = agent.evaluate(
            env,
            episodes=args.episodes,
            deterministic=not args.stochastic,
            seed=args.seed,
            epsilon=args.epsilon,
            return_dict=True,
            verbose=0,
        )
    how = "stochastic" if args.stochastic else "deterministic"
    at_random = f", a random action with probability {args.epsilon:g}" if args.epsilon else ""
    print(f"{getattr(env, 'id', env)}, {args.episodes} {how} episodes of {checkpoint}{at_random}:")
    print(
        f"mean return {result['return']:.2f}, mean length {result['length']:.1f}, "
        f"standard deviation of returns {result['return_std']:.2f}"
    )


def _env(args):
    """The environment to play in."""
    if args.env:
        return args.env
    return presets.make_env(
        runs.read_config(runs.folder_of(args.run)), validation=True, num_envs=evaluation_envs(args.episodes, 1)
    )
