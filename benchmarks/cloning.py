"""What behaviour cloning makes of 20 recorded episodes of CartPole, without an environment step.

    python benchmarks/cloning.py [--episodes 20] [--epochs 20] [--seeds 1 2 3 4 5]

Records a script that balances the pole, clones it with a PPO, a REINFORCE and a RecurrentPPO (sequences of 50 steps, 4 in a
gradient step), and prints the mean return of 100 deterministic episodes: the lowest over seeds, all of them, and the seconds of
a training.
"""

import argparse
import time

import keras

import keras_rl_prob as krp

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--episodes", type=int, default=20)
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
args = parser.parse_args()
AGENTS = krp.PPO, krp.Reinforce, krp.RecurrentPPO


def balance(observation):
    """Balances the pole for all of the 500 steps."""
    position, speed, angle, turning = observation
    return int(angle + 0.5 * turning + 0.02 * position + 0.05 * speed > 0)


def cloned(kind, seed):
    """Mean return of a new agent after its cloning, and the seconds that it took."""
    keras.utils.set_random_seed(seed)
    episodes = krp.envs.record_episodes("CartPole-v1", balance, args.episodes, seed)
    agent = kind(normalize_observations=True)
    agent.build("CartPole-v1")
    cloning = krp.imitation.BehaviorCloning(agent, sequence_length=50)
    cloning.compile()
    start = time.perf_counter()
    cloning.fit(episodes, epochs=args.epochs, seed=seed, verbose=0)
    seconds = time.perf_counter() - start
    if int(agent.env_steps):
        raise RuntimeError("an environment was stepped")
    return agent.evaluate("CartPole-v1", episodes=100, return_dict=True, verbose=0)["return"], seconds


for kind in AGENTS:
    results = [cloned(kind, seed) for seed in args.seeds]
    returns, seconds = zip(*results, strict=True)
    each = ", ".join(f"{x:.1f}" for x in returns)
    print(f"{kind.__name__:<12} lowest {min(returns):.1f} ({each}), {max(seconds):.1f} s at most", flush=True)
