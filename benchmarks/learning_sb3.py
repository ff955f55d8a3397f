"""Returns of stable-baselines3's SAC with the settings of rl-baselines3-zoo, to set beside a run of `keras-rl-prob experiment`.

    PYTHON benchmarks/learning_sb3.py [--task HalfCheetah-v5] [--steps 300000] [--first 1] [--seeds 3] [--threads 1]

PYTHON has stable-baselines3 and gymnasium[mujoco]. The mean return of deterministic episodes after each twentieth of the steps,
and of 100 at the end, one line each.
"""

import argparse
import time

import torch
from stable_baselines3 import SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--task", default="HalfCheetah-v5")
parser.add_argument("--steps", type=int, default=300_000)
parser.add_argument("--first", type=int, default=1, help="the first seed")
parser.add_argument("--seeds", type=int, default=3)
parser.add_argument("--threads", type=int, help="of PyTorch; default: its own")
args = parser.parse_args()
if args.threads:
    torch.set_num_threads(args.threads)


validation_env = make_vec_env(args.task, 1, seed=1_000)


def mean_return(model, episodes):
    """The mean return of some deterministic episodes."""
    return evaluate_policy(model, validation_env, n_eval_episodes=episodes)[0]


for seed in range(args.first, args.first + args.seeds):
    model = SAC("MlpPolicy", make_vec_env(args.task, 1, seed=seed), seed=seed, learning_starts=10_000, device="cpu")
    start = time.perf_counter()
    for _ in range(20):
        model.learn(args.steps // 20, reset_num_timesteps=False)
        rate = model.num_timesteps / (time.perf_counter() - start)
        print(f"seed {seed}, {model.num_timesteps:,} steps, {rate:.0f}/s: {mean_return(model, 4):.1f}", flush=True)
    print(f"seed {seed}, 100 episodes: {mean_return(model, 100):.1f}", flush=True)
