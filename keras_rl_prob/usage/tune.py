"""Search for better settings by random search (KerasTuner's RandomSearch).

A trial trains an agent with settings sampled from the search space; its score
is the best val_return of its epochs. The folder <logdir>/<time>-<name>-tuning
holds KerasTuner's results and best.json, the best settings as a configuration
for `train --config`. --search sets the search space: KEY=LOW:HIGH is a range,
of integers if both bounds are integers, KEY=LOW:HIGH:log a range on a
logarithmic scale, KEY=A,B,C a choice. The default has those of the following
that the agent has:
  optimizer.learning_rate=1e-4:3e-3:log (or the initial value of its schedule)
  agent.entropy_coef=1e-4:3e-2:log        agent.clip_ratio=0.1:0.3
  agent.gae_lambda=0.9,0.95,0.98          agent.discount=0.95,0.99,0.995
  agent.update_epochs=2,4,8
Every trial has the same seed. More than ten trials run in several processes,
one after the other, so that memory stays bounded. Needs the extra `tuner`.

Examples:
  keras-rl-prob tune --config pendulum --trials 20 --epochs 3
  keras-rl-prob tune CartPole-v1 --search agent.rollout_steps=32,64,128
  keras-rl-prob tune --config cartpole_novel --search network.units=16:128:log
  keras-rl-prob tune --resume runs/20260131T093000-pendulum-tuning --trials 40
  keras-rl-prob train --config runs/20260131T093000-pendulum-tuning/best.json
"""

import argparse
import pathlib

from keras_rl_prob.usage import arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `tune` takes."""
    arguments.add_arguments(parser)
    parser.add_argument(
        "--search", action="append", default=[], metavar="KEY=VALUES", help="may be repeated; see above"
    )
    parser.add_argument("--trials", type=arguments.positive, metavar="N", help="how many in all; default: 10")
    parser.add_argument("--logdir", default="runs", type=pathlib.Path, metavar="FOLDER", help="default: runs")
    parser.add_argument("--resume", type=pathlib.Path, metavar="TUNING", help="the folder of a search to resume")
    parser.add_argument("--part", type=int, help=argparse.SUPPRESS)  # of the processes of a long search
