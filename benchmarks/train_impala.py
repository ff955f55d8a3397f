"""Environment steps per second of IMPALA with collectors on CartPole, to compare with `train_rllib.py`.

    python benchmarks/train_impala.py [--collectors 2] [--num-envs 16] [--seconds 75]

Two Dense layers of 64 units each for policy and value, rollouts of 128 steps: 2,048 rows with 16 environments. The rate is that
after the first 25 seconds.
"""

import argparse
import time

import keras_rl_prob as krp  # isort: skip  # before Keras: TensorFlow's log messages are off

import keras

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--collectors", type=int, default=2)
parser.add_argument("--num-envs", type=int, default=16, help="environments of each collector")
parser.add_argument("--seconds", type=float, default=75.0)


class Clock(keras.callbacks.Callback):
    """Notes times and environment steps, and stops the training when the time is over."""

    def __init__(self, seconds):
        super().__init__()
        self.start, self.seconds, self.marks = time.monotonic(), seconds, []

    def on_epoch_end(self, epoch, logs=None):
        passed = time.monotonic() - self.start
        self.marks.append((passed, logs["env_steps"], logs["return"]))
        self.model.stop_training = passed > self.seconds


def main():
    """Trains and prints the rate."""
    args = parser.parse_args()
    agent = krp.IMPALA(krp.networks.feed_forward("CartPole-v1", (64, 64)), rollout_steps=128)
    agent.compile(keras.optimizers.Adam(5e-4, global_clipnorm=0.5))
    clock = Clock(args.seconds)
    collectors = krp.distributed.RayCollectors(args.collectors, num_envs=args.num_envs)
    agent.fit("CartPole-v1", epochs=10_000, collectors=collectors, verbose=0, callbacks=[clock])
    late = [mark for mark in clock.marks if mark[0] > 25]
    rate = (late[-1][1] - late[0][1]) / (late[-1][0] - late[0][0])
    print(f"keras_rl_prob: {rate:,.0f} steps/s, return {late[-1][2]:.1f} after {late[-1][1]:,.0f} steps")


if __name__ == "__main__":
    main()
