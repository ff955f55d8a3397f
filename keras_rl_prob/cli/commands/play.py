"""`play`: shows an agent, or lets a person play."""

import argparse

from keras_rl_prob import envs
from keras_rl_prob.cli import configs, runs
from keras_rl_prob.cli.commands.visualize import drawn
from keras_rl_prob.cli.errors import UserError, blaming
from keras_rl_prob.envs.playing.rendering import has_display


def run(args: argparse.Namespace) -> None:
    """Plays, and prints what was played."""
    if args.default is not None and not args.keyboard:
        raise UserError("--default belongs to --keyboard: it is the action while no key is pressed")
    if args.run is None and not (args.keyboard and args.env):
        raise UserError("A run folder or a .keras file is needed, or --keyboard with --env, as in --env CartPole-v1")
    window = has_display() and not args.keyboard if args.show is None else args.show == "window"
    shown = {"episodes": args.episodes, "fps": args.fps, "render_mode": "human" if window else "terminal"}
    env = args.env or drawn(runs.read_config(runs.folder_of(args.run)))
    with blaming(None, *configs.WRONG, RuntimeError):
        if args.keyboard:
            played = envs.play_manual(env, default=args.default, seed=args.seed, **shown)
        else:
            agent, _ = runs.agent_at(args.run, args.checkpoint)
            how = {"deterministic": not args.stochastic, "epsilon": args.epsilon}
            played = agent.play(env, seed=args.seed, **how, **shown)
    for number, episode in enumerate(played, 1):
        print(f"episode {number}: return {episode['return']:.2f}, length {episode['length']}")
