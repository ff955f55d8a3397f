"""Trains an agent of stable-baselines3 or sb3-contrib on CartPole and prints its rate; see peers.py."""

import argparse
import time

import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument(
    "--agent", choices=["RecurrentPPO", "RecurrentPPO-shared", "PPO", "A2C", "DQN"], default="RecurrentPPO"
)
parser.add_argument("--envs", type=int, default=32)
parser.add_argument("--steps", type=int, default=128)
parser.add_argument("--rollouts", type=int, default=5)
args = parser.parse_args()


if args.agent == "A2C":
    args.envs, args.steps, args.rollouts = 8, 5, 1000
if args.agent == "DQN":
    args.envs, args.steps, args.rollouts = 1, 256, 40
every = max(args.rollouts // 20, 1)


class Rate(BaseCallback):
    """Prints environment steps per second of some rollouts and their updates."""

    rollouts = 0
    start: float

    def _on_step(self):
        return True

    def _on_rollout_start(self):
        if self.rollouts % every == 0:
            now = time.time()
            if self.rollouts:
                rate = every * args.envs * args.steps / (now - self.start)
                print(f"rollouts: {rate:,.0f} env steps/s", flush=True)
            self.start = now
        self.rollouts += 1

    def _on_training_end(self):
        self._on_rollout_start()


rows = args.envs * args.steps
same = dict(n_steps=args.steps, batch_size=rows // 4, n_epochs=4, ent_coef=0.01, learning_rate=1e-3)
env = make_vec_env("CartPole-v1", n_envs=args.envs)
if args.agent == "A2C":
    agent = A2C("MlpPolicy", env, n_steps=args.steps, device="cpu")
elif args.agent == "DQN":  # the settings of rl-baselines3-zoo for CartPole-v1
    agent = DQN(
        "MlpPolicy",
        env,
        learning_rate=2.3e-3,
        batch_size=64,
        buffer_size=100_000,
        learning_starts=1_000,
        train_freq=256,
        gradient_steps=128,
        target_update_interval=10,
        policy_kwargs=dict(net_arch=[256, 256]),
        device="cpu",
    )
elif args.agent == "PPO":
    agent = PPO("MlpPolicy", env, device="cpu", **same)
else:  # by default policy and value have an LSTM each; "-shared" is the structure of `train_ours.py`
    policy = dict(lstm_hidden_size=64, net_arch=[64])
    if args.agent == "RecurrentPPO-shared":
        policy = dict(lstm_hidden_size=64, net_arch=[], enable_critic_lstm=False, shared_lstm=True)
    policy["activation_fn"] = torch.nn.Tanh
    agent = RecurrentPPO("MlpLstmPolicy", env, device="cpu", policy_kwargs=policy, **same)
agent.learn(args.rollouts * rows, callback=Rate())
