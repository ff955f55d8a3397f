"""Environment steps per second of RLlib's IMPALA with collectors on CartPole, for `train_impala.py`.

    pip install "ray[rllib]==2.60.0" torch        # in an environment of its own
    python benchmarks/train_rllib.py [--collectors 2] [--num-envs 16] [--seconds 75]

Two Dense layers of 64 units, batches of 2,048 rows. The rate is that after the first 20 seconds.
"""

import argparse
import logging
import time

import ray
from ray.rllib.algorithms.impala import IMPALAConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--collectors", type=int, default=2)
parser.add_argument("--num-envs", type=int, default=16, help="environments of each collector")
parser.add_argument("--seconds", type=float, default=75.0)


def main():
    """Trains and prints the rate."""
    args = parser.parse_args()
    ray.init(num_cpus=args.collectors + 2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    config = IMPALAConfig().environment("CartPole-v1")
    config.env_runners(
        num_env_runners=args.collectors, num_envs_per_env_runner=args.num_envs, rollout_fragment_length=64
    )
    config.learners(num_learners=0).training(train_batch_size_per_learner=2048, lr=5e-4)
    config.rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64, 64], fcnet_activation="tanh"))
    algorithm, start, marks = config.build_algo(), time.monotonic(), []
    while time.monotonic() - start < args.seconds:
        result = algorithm.train()["env_runners"]
        marks.append((time.monotonic() - start, result.get("num_env_steps_sampled_lifetime", 0)))
    late = [mark for mark in marks if mark[0] > 20]
    rate = (late[-1][1] - late[0][1]) / (late[-1][0] - late[0][0])
    print(f"RLlib: {rate:,.0f} steps/s, return {result.get('episode_return_mean'):.1f} after {late[-1][1]:,.0f} steps")
    algorithm.stop()
    ray.shutdown()


if __name__ == "__main__":
    main()
