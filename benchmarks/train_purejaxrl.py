"""Trains an agent of PureJaxRL on CartPole, with the networks of `train_ours.py`, and prints its rate; see peers.py.

`ppo` has two separate networks of 64 and 64 units already; `ppo_rnn` is cut to Dense 64 -> GRU 64 for policy and value.
"""

import argparse
import importlib
import sys
import time
from typing import Any
from unittest import mock

import distrax
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("checkout", help="folder of a clone of PureJaxRL")
parser.add_argument("--agent", choices=["ppo", "ppo_rnn"], required=True)
parser.add_argument("--envs", type=int, default=32)
parser.add_argument("--updates", type=int, default=40)
args = parser.parse_args()
for name in ("brax", "brax.envs", "brax.envs.wrappers", "brax.envs.wrappers.training", "navix"):
    sys.modules[name] = mock.MagicMock()  # for other environments than CartPole
sys.path.insert(0, f"{args.checkout}/purejaxrl")
module: Any = importlib.import_module(args.agent)
UNITS = 64


class Memory(nn.Module):
    """GRU over time, reset where an episode starts."""

    @nn.compact
    def __call__(self, carry, x):
        inputs, resets = x

        def step(cell, carry, x):
            inputs, reset = x
            return cell(jnp.where(reset[:, None] > 0, 0.0, carry), inputs)

        scan = nn.scan(step, variable_broadcast="params", split_rngs={"params": False})
        return scan(nn.GRUCell(UNITS), carry, (inputs, resets))

    @staticmethod
    def initialize_carry(batch_size, hidden_size):
        return jnp.zeros((batch_size, UNITS))


class ActorCritic(nn.Module):
    """Dense 64 -> GRU 64 -> a head each for policy and value."""

    actions: int
    config: dict

    @nn.compact
    def __call__(self, hidden, x):
        observation, done = x
        hidden, x = Memory()(hidden, (nn.tanh(nn.Dense(UNITS)(observation)), done))
        return hidden, distrax.Categorical(logits=nn.Dense(self.actions)(x)), nn.Dense(1)(x)[..., 0]


module.ScannedRNN, module.ActorCriticRNN = Memory, ActorCritic
steps = 128
config = {
    "LR": 1e-3,
    "NUM_ENVS": args.envs,
    "NUM_STEPS": steps,
    "TOTAL_TIMESTEPS": args.updates * args.envs * steps,
    "UPDATE_EPOCHS": 4,
    "NUM_MINIBATCHES": 4,
    "GAMMA": 0.99,
    "GAE_LAMBDA": 0.95,
    "CLIP_EPS": 0.2,
    "ENT_COEF": 0.01,
    "VF_COEF": 0.5,
    "MAX_GRAD_NORM": 0.5,
    "ACTIVATION": "tanh",
    "ENV_NAME": "CartPole-v1",
    "ANNEAL_LR": False,
}
train = jax.jit(module.make_train(config))
for seed in range(4):
    start = time.perf_counter()
    returns = jax.block_until_ready(train(jax.random.PRNGKey(seed)))
    if seed:  # the first compiles
        rate = config["TOTAL_TIMESTEPS"] / (time.perf_counter() - start)
        metric = returns.get("metric", returns.get("metrics"))
        last = np.mean(np.asarray(metric["returned_episode_returns"])[-1])
        print(f"{rate:,.0f} env steps/s, return {last:.1f}", flush=True)
