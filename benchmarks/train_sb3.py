"""Trains stable-baselines3's PPO or sb3-contrib's RecurrentPPO on CartPole and prints its rate; see throughput.py."""

import argparse
import time

import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--agent", choices=["RecurrentPPO", "RecurrentPPO-shared", "PPO"], default="RecurrentPPO")
parser.add_argument("--envs", type=int, default=32)
parser.add_argument("--steps", type=int, default=128)
parser.add_argument("--rollouts", type=int, default=5)
args = parser.parse_args()


class Rate(BaseCallback):
    """Prints environment steps per second of each rollout and its updates."""

    def _on_step(self):
        return True

    def _on_rollout_start(self):
        now = time.time()
        if hasattr(self, "start"):
            print(f"rollout: {args.envs * args.steps / (now - self.start):,.0f} env steps/s", flush=True)
        self.start = now

    def _on_training_end(self):
        self._on_rollout_start()


rows = args.envs * args.steps
same = dict(n_steps=args.steps, batch_size=rows // 4, n_epochs=4, ent_coef=0.01, learning_rate=1e-3)
env = make_vec_env("CartPole-v1", n_envs=args.envs)
if args.agent == "PPO":
    agent = PPO("MlpPolicy", env, device="cpu", **same)
else:  # by default policy and value have an LSTM each; "-shared" is the structure of krp.RecurrentPPO's default network
    policy = dict(lstm_hidden_size=64, net_arch=[64])
    if args.agent == "RecurrentPPO-shared":
        policy = dict(lstm_hidden_size=64, net_arch=[], enable_critic_lstm=False, shared_lstm=True)
    policy["activation_fn"] = torch.nn.Tanh
    agent = RecurrentPPO("MlpLstmPolicy", env, device="cpu", policy_kwargs=policy, **same)
agent.learn(args.rollouts * rows, callback=Rate())
