"""Trains a keras_rl_prob agent on CartPole and prints its rate after every epoch; see peers.py."""

import argparse
import os
import time
from typing import Any

START = time.time()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

import keras_rl_prob as krp

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--agent", choices=["RecurrentPPO", "PPO", "A2C", "DQN"], default="RecurrentPPO")
parser.add_argument(
    "--gym", action="store_true", help="Gymnasium's CartPole as `fit` makes it; default: the native environment"
)
parser.add_argument(
    "--network",
    choices=["lstm", "lstms", "gru"],
    default="lstm",
    help="memory of RecurrentPPO: one LSTM for policy and value, one each, or one GRU",
)
parser.add_argument("--envs", type=int, default=32)
parser.add_argument("--steps", type=int, default=128)
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--rollouts-per-epoch", type=int, default=20)
args = parser.parse_args()
args.rollouts_per_epoch = max(1, args.rollouts_per_epoch * 32 // args.envs)


class Rate(keras.callbacks.Callback):
    """Prints environment steps per second of each epoch, and when the first update was done."""

    first = None

    def on_epoch_begin(self, epoch, logs=None):
        self.start, self.steps = time.time(), int(self.model.env_steps.numpy())

    def on_train_batch_end(self, batch, logs=None):
        if self.first is None:
            self.first = time.time() - START
            print(f"first progress after {self.first:.1f} s", flush=True)

    def on_epoch_end(self, epoch, logs=None):
        rate = (int(self.model.env_steps.numpy()) - self.steps) / (time.time() - self.start)
        print(f"epoch {epoch}: {rate:,.0f} env steps/s, return {float(logs['return']):.1f}", flush=True)


def recurrent(memory):
    """Dense 64 -> memory of 64 units -> head, for policy and value together, or, for `"lstms"`, for each."""
    if memory != "lstms":
        return krp.networks.recurrent("CartPole-v1", memory, shared=True)
    observation = keras.Input((4,))

    def trunk():
        x = keras.layers.Dense(64, "tanh")(observation)
        return krp.layers.StatefulRNN(keras.layers.LSTMCell(64))(x)

    outputs = {"action": krp.layers.DenseCategorical((2,))(trunk()), "value": keras.layers.Dense(1)(trunk())}
    return keras.Model(observation, outputs)


arguments: dict[str, Any] = {"rollout_steps": args.steps}
rate, execution = 1e-3, None
if args.agent == "RecurrentPPO":
    arguments["network"] = recurrent(args.network)
if args.agent == "A2C":  # the defaults of stable-baselines3
    args.envs, args.rollouts_per_epoch, rate, execution = 8, 300, 7e-4, 20
    arguments = {"normalize_rewards": False, "entropy_coef": 0.0}
if args.agent == "DQN":  # its settings for CartPole-v1
    args.envs, args.rollouts_per_epoch, rate = 1, 8, 2.3e-3
    arguments = {"rollout_steps": 256, "updates": 128, "target_update": 128}
    arguments["replay"] = krp.ReplaySettings(batch_size=64)
    arguments["network"] = krp.networks.q_network("CartPole-v1", (256, 256))
env = krp.envs.make("CartPole-v1" if args.gym else "tf/CartPole-v1", args.envs)
agent = getattr(krp, args.agent)(**arguments)
optimizer = agent.default_optimizer()
optimizer.learning_rate = rate
agent.compile(optimizer, steps_per_execution=execution)
updates = args.rollouts_per_epoch * agent.updates_per_rollout(args.envs)
agent.fit(env, epochs=args.epochs, steps_per_epoch=updates, verbose=0, callbacks=[Rate()])
