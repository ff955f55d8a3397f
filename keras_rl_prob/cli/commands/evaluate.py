"""`evaluate`: plays episodes and prints their mean return and length, and the standard deviation of returns."""

import argparse

from keras_rl_prob import presets
from keras_rl_prob.agents.arguments import evaluation_envs
from keras_rl_prob.cli import configs, runs
from keras_rl_prob.cli.errors import UserError, blaming


def run(args: argparse.Namespace) -> None:
    """Evaluates and prints."""
    env, checkpoint = _env(args), args.checkpoint
    if args.run.suffix == ".keras":
        agent, checkpoint = runs.load_agent(args.run.parent, str(args.run)), args.run.name
    else:
        agent = runs.load_agent(args.run, checkpoint)
    with blaming(None, *configs.WRONG):
        result = agent.evaluate(
            env,
            episodes=args.episodes,
            deterministic=not args.stochastic,
            seed=args.seed,
            return_dict=True,
            verbose=0,
        )
    how = "stochastic" if args.stochastic else "deterministic"
    print(f"{getattr(env, 'id', env)}, {args.episodes} {how} episodes of {checkpoint}:")
    print(
        f"mean return {result['return']:.2f}, mean length {result['length']:.1f}, "
        f"standard deviation of returns {result['return_std']:.2f}"
    )


def _env(args):
    """The environment to play in."""
    folder = args.run.parent if args.run.suffix == ".keras" else args.run
    if args.env:
        return args.env
    if folder != args.run and not (folder / runs.CONFIG).is_file():
        raise UserError(f"{args.run} is in no run folder: name the environment, as in --env CartPole-v1")
    return presets.make_env(runs.read_config(folder), validation=True, num_envs=evaluation_envs(args.episodes, 1))
