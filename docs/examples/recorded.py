"""SAC from a data set of Minari alone: swing-ups of Pendulum by a script, with noise of different strengths.

    pip install "keras_rl_prob[minari]"
    python docs/examples/recorded.py [--data-set pendulum/swing-up-v0] [--episodes 100]

It writes the data set, unless there is one of this name, and prints its mean return and that of the agent.
"""

import argparse

import gymnasium
import keras
import minari
import numpy as np
from minari.data_collector import EpisodeBuffer

import keras_rl_prob as krp

ENV = "Pendulum-v1"


def swing_up(observation: np.ndarray) -> float:
    """Torque that pumps energy into the pendulum while it hangs, and holds it upright."""
    cosine, sine, velocity = observation
    angle = np.arctan2(sine, cosine)
    energy = velocity**2 / 6.0 + 5.0 * (cosine - 1.0)
    pumping, holding = -3.0 * energy * np.sign(velocity or 1.0), -12.0 * angle - 3.0 * velocity
    return np.clip(holding if abs(angle) < 0.5 else pumping, -2.0, 2.0)


def write(name: str, episodes: int) -> None:
    """Writes the data set: the script with normal noise, whose scale is drawn for each episode."""
    rng, buffers = np.random.default_rng(0), []
    for number in range(episodes):
        scale = rng.uniform(0.0, 2.0)

        def noisy(observation, scale=scale):
            return np.clip(swing_up(observation) + rng.normal(0.0, scale, 1), -2.0, 2.0).astype(np.float32)

        (episode,) = krp.envs.record_episodes(gymnasium.make(ENV), noisy, episodes=1, seed=number)
        buffers.append(EpisodeBuffer(id=number, **episode._asdict()))
    told = {"algorithm_name": "script", "author": "none", "description": "Noisy swing-ups."}
    minari.create_dataset_from_buffers(name, buffers, env=ENV, **told)


def main() -> None:
    """Writes the data set if needed, and learns from it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-set", default="pendulum/swing-up-v0")
    parser.add_argument("--episodes", type=int, default=100)
    args = parser.parse_args()
    if args.data_set not in minari.list_local_datasets():
        write(args.data_set, args.episodes)
    returns = [episode.rewards.sum() for episode in minari.load_dataset(args.data_set).iterate_episodes()]
    print(f"{len(returns)} recorded episodes: {np.mean(returns):.1f}", flush=True)
    keras.utils.set_random_seed(1)
    agent = krp.SAC(discount=0.95)
    agent.compile(keras.optimizers.Adam(1e-3))
    agent.fit(ENV, steps_per_epoch=6400, seed=1, verbose=0, collectors=krp.imitation.Recorded(args.data_set))
    result = agent.evaluate("tf/Pendulum-v1", episodes=100, return_dict=True, verbose=0)
    print(f"SAC after {int(agent.optimizer.iterations)} gradient steps: {result['return']:.1f}")


if __name__ == "__main__":
    main()
