"""Record episodes of a run's agent as videos.

Native environments (tf/...) are drawn by the Gymnasium environment with the same physics.
Needs the extra `video`.

Examples:
  keras-rl-prob visualize runs/20260131T093000-pendulum --outdir videos
  keras-rl-prob visualize runs/20260131T093000-pendulum --outdir videos --episodes 1 --format gif
"""

import argparse
import os
import pathlib

from keras_rl_prob import callbacks, presets
from keras_rl_prob.callbacks.record_episode import gymnasium_id
from keras_rl_prob.cli import configs, runs
from keras_rl_prob.cli.errors import UserError, blaming
from keras_rl_prob.envs import spec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `visualize` takes."""
    parser.add_argument("run", type=pathlib.Path, metavar="RUN", help="a run folder")
    parser.add_argument("--outdir", type=pathlib.Path, required=True, metavar="FOLDER", help="where the videos go")
    parser.add_argument("--episodes", type=configs.positive, default=5, metavar="N", help="default: 5")
    parser.add_argument("--format", choices=("mp4", "gif"), default="mp4", help="default: mp4")
    parser.add_argument("--checkpoint", default="best", metavar="best|final|FILE", help="which agent; default: best")
    parser.add_argument(
        "--max-frames", type=configs.positive, default=1000, metavar="N", help="of each episode; default: 1000"
    )
    parser.add_argument("--seed", type=configs.seed, default=0, metavar="N", help="of the first episode; default: 0")


def run(args: argparse.Namespace) -> None:
    """Records, and prints what was played."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no window, no sound
    configs.check_last_seed(args.seed, args.episodes)
    config = runs.read_config(args.run)
    agent = runs.load_agent(args.run, args.checkpoint)
    env = _drawn(config)
    for episode in range(1, args.episodes + 1):
        path = args.outdir / f"episode_{episode}.{args.format}"
        with blaming(None, *configs.WRONG):
            played = callbacks.record_episode(agent, env, path, args.max_frames, seed=args.seed + episode - 1)
        print(f"{path}: return {played['return']:.2f}, length {played['length']}", flush=True)


def _drawn(config):
    """The environment to draw; for a native one, Gymnasium's environment with the same physics and time limit."""
    env = config["env"]
    if not env["id"].startswith("tf/"):
        return presets.make_env(config, validation=True)
    kwargs = env["kwargs"] | env["validation_kwargs"]
    if set(kwargs) - {"max_episode_steps"}:
        raise UserError(f"{env['id']} can only be drawn with its default arguments. Received: {kwargs}")
    return spec(gymnasium_id(env["id"]), **kwargs) if kwargs else env["id"]
