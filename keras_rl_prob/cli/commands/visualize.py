"""`visualize`: records episodes as videos."""

import argparse
import os
from typing import Any

from keras_rl_prob import callbacks, presets
from keras_rl_prob.cli import configs, runs
from keras_rl_prob.cli.errors import UserError, blaming
from keras_rl_prob.envs import spec
from keras_rl_prob.envs.playing.rendering import gymnasium_id


def run(args: argparse.Namespace) -> None:
    """Records, and prints what was played."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no window, no sound
    configs.check_last_seed(args.seed, args.episodes)
    config = runs.read_config(args.run)
    agent = runs.load_agent(args.run, args.checkpoint)
    env = drawn(config)
    for episode in range(1, args.episodes + 1):
        path = args.outdir / f"episode_{episode}.{args.format}"
        with blaming(None, *configs.WRONG):
            played = callbacks.record_episode(agent, env, path, args.max_frames, seed=args.seed + episode - 1)
        print(f"{path}: return {played['return']:.2f}, length {played['length']}", flush=True)


def drawn(config: dict[str, Any]) -> Any:
    """The environment to draw; for a native one, Gymnasium's environment with the same physics and time limit."""
    env = config["env"]
    if not env["id"].startswith("tf/"):
        return presets.make_env(config, validation=True)
    kwargs = env["kwargs"] | env["validation_kwargs"]
    if set(kwargs) - {"max_episode_steps"}:
        raise UserError(f"{env['id']} can only be drawn with its default arguments. Received: {kwargs}")
    return spec(gymnasium_id(env["id"]), **kwargs) if kwargs else env["id"]
