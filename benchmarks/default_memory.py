"""Which network with memory learns best: RecurrentPPO with one factor changed at a time.

    python benchmarks/default_memory.py [--env tf/CartPoleNoVel-v1] [--variants ...] [--seeds 5] [--steps 100000]

Trains an agent for each variant and seed, with the numbers that RL Baselines3 Zoo has for masked CartPole (or those below for
other environments), and prints the median over seeds of the mean return of 100 deterministic episodes after the training, the
returns of all seeds, and environment steps per second. Variants are `pi+vf` (a memory for the policy and one for the value) or
`shared`, and what differs from `BASE` or from the numbers of the environment, as in `pi+vf,after=64,discount=0.9`.
"""

import argparse
import statistics
import time
from typing import Any

import keras

import keras_rl_prob as krp
from keras_rl_prob.envs import spaces_of
from keras_rl_prob.layers import StatefulRNN
from keras_rl_prob.networks.encoder import encoder

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env", default="tf/CartPoleNoVel-v1")
parser.add_argument("--variants", nargs="+", default=["shared", "pi+vf"])
parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
parser.add_argument("--steps", type=int, default=100_000, help="environment steps of a training")
args = parser.parse_args()

BASE: dict[str, Any] = {
    "cell": "lstm",
    "units": 64,  # of the memory
    "before": 64,  # units of the Dense layer before the memory; 0 for none
    "after": 0,  # units of the Dense layer after it
    "activation": "tanh",  # of the Dense layers
    "init": "orthogonal",  # of the Dense layers; or "glorot"
    "value_coef": 0.5,
    "rewards": 1,  # whether rewards are scaled
    "anneal": 1,  # whether learning rate and clip ratio fall to 0
    "entropy": 0.0,
    "previous": 0,  # whether the network sees the previous action and reward
}
ZOO: dict[str, Any] = {
    "num_envs": 8,
    "rollout_steps": 32,
    "minibatches": 1,
    "sequence_length": 32,  # of the sequences in a minibatch
    "update_epochs": 20,
    "discount": 0.98,
    "gae_lambda": 0.8,
}
NUMBERS = {
    "CartPole": ZOO,
    "Pendulum": ZOO
    | {
        "rollout_steps": 128,
        "minibatches": 4,
        "sequence_length": 128,
        "update_epochs": 10,
        "discount": 0.95,
        "gae_lambda": 0.9,
    },
    "Repeat": ZOO
    | {
        "num_envs": 16,
        "rollout_steps": 104,
        "minibatches": 4,
        "sequence_length": 104,
        "update_epochs": 10,
        "discount": 0.99,
        "gae_lambda": 0.95,
    },
}


def layer(width, v):
    """A Dense layer."""
    init = keras.initializers.Orthogonal(2**0.5) if v["init"] == "orthogonal" else "glorot_uniform"
    return keras.layers.Dense(width, v["activation"], kernel_initializer=init)


def trunk(x, v):
    """Dense, memory, Dense."""
    x = layer(v["before"], v)(x) if v["before"] else x
    cells = {"lstm": keras.layers.LSTMCell, "gru": keras.layers.GRUCell}
    x = StatefulRNN(cells[v["cell"]](v["units"]))(x)
    return layer(v["after"], v)(x) if v["after"] else x


def network(env, structure, v):
    """The network of a variant."""
    observation_space, action_space = (krp.envs.with_previous_step if v["previous"] else spaces_of)(env)
    inputs, x = encoder(observation_space)
    policy = trunk(x, v)
    critic = policy if structure == "shared" else trunk(x, v)
    value = keras.layers.Dense(1, kernel_initializer=keras.initializers.Orthogonal(1.0))(critic)
    return keras.Model(inputs, {"action": krp.networks.heads(action_space, policy), "value": value})


def trained(variant, seed):
    """Mean return of a new agent after its training, and its environment steps per second."""
    structure, *changes = variant.split(",")
    pairs = (change.split("=") for change in changes)
    v = BASE | next(numbers for name, numbers in NUMBERS.items() if name in args.env)
    v |= {name: type(v[name])(value) for name, value in pairs}
    numbers = {name: v[name] for name in ZOO}
    num_envs, count, length = (numbers.pop(name) for name in ("num_envs", "minibatches", "sequence_length"))
    rollouts = max(1, round(args.steps / num_envs / numbers["rollout_steps"]))
    updates = count * numbers["update_epochs"]
    minibatches = krp.Minibatches(count, sequence_length=length)
    keras.utils.set_random_seed(seed)
    rate, clip = 1e-3, 0.2
    if v["anneal"]:
        rate, clip = (
            keras.optimizers.schedules.PolynomialDecay(start, rollouts * updates, 0.0) for start in (rate, clip)
        )
    agent = krp.RecurrentPPO(
        network(args.env, structure, v), clip_ratio=clip, value_coef=v["value_coef"], entropy_coef=v["entropy"],
        normalize_observations=True, normalize_rewards=bool(v["rewards"]),
        previous_action_and_reward=bool(v["previous"]), minibatches=minibatches, **numbers,
    )  # fmt: skip
    agent.compile(keras.optimizers.Adam(rate, epsilon=1e-5, global_clipnorm=0.5))
    fit = {"num_envs": num_envs, "seed": seed, "verbose": 0}
    agent.fit(args.env, epochs=1, steps_per_epoch=updates, **fit)
    start = time.perf_counter()
    agent.fit(args.env, epochs=1, steps_per_epoch=(rollouts - 1) * updates, **fit)
    rate = (rollouts - 1) * num_envs * numbers["rollout_steps"] / (time.perf_counter() - start)
    return agent.evaluate(args.env, episodes=100, verbose=0)[0], rate


if __name__ == "__main__":
    print("| network | median | returns | steps/s |\n| --- | --- | --- | --- |")
    for variant in args.variants:
        results = [trained(variant, seed) for seed in args.seeds]
        returns = [result for result, _ in results]
        rate = statistics.median(rate for _, rate in results)
        print(
            f"| {variant} | {statistics.median(returns):.1f} | {sorted(round(x, 1) for x in returns)} | {rate:.0f} |",
            flush=True,
        )
