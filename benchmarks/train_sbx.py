"""Trains an agent of SBX on CartPole and prints its rate; see peers.py."""

import argparse
import time

from sbx import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--agent", choices=["PPO", "DQN"], required=True)
args = parser.parse_args()


class Rate(BaseCallback):
    """Prints environment steps per second of every `every` steps of all environments."""

    def __init__(self, every):
        super().__init__()
        self.every, self.start, self.then = every, None, 0

    def _on_step(self):
        if self.num_timesteps - self.then >= self.every:
            now = time.perf_counter()
            if self.start:
                print(f"{(self.num_timesteps - self.then) / (now - self.start):,.0f} env steps/s", flush=True)
            self.start, self.then = now, self.num_timesteps
        return True


if args.agent == "PPO":
    agent = PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", 32),
        n_steps=128,
        batch_size=1024,
        n_epochs=4,
        policy_kwargs=dict(net_arch=dict(pi=[64, 64], vf=[64, 64])),
        learning_rate=1e-3,
        ent_coef=0.01,
    )
    agent.learn(4096 * 60, callback=Rate(4096 * 5))
else:  # the settings of rl-baselines3-zoo for CartPole-v1
    agent = DQN(
        "MlpPolicy",
        make_vec_env("CartPole-v1", 1),
        learning_rate=2.3e-3,
        batch_size=64,
        buffer_size=100_000,
        learning_starts=1_000,
        train_freq=256,
        gradient_steps=128,
        target_update_interval=10,
        policy_kwargs=dict(net_arch=[256, 256]),
    )
    agent.learn(25_600, callback=Rate(2_560))
