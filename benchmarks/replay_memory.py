"""RAM and speed of a completely filled replay buffer of a million 84 x 84 frames.

    python benchmarks/replay_memory.py [--frames 1000000] [--prioritized]

Trains a `krp.DQN` on stacks of four random frames from 16 environments: the first rollouts fill the
buffer, then come 200 gradient steps. Prints the peak resident memory of the process before and after filling and at the end,
and the time of sampling and learning from a batch of 32.
"""

import argparse
import os
import resource
import time
from typing import ClassVar

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gymnasium
import keras
import numpy as np
from gymnasium import spaces

import keras_rl_prob as krp

NUM_ENVS, ROWS = 16, 200
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--frames", type=int, default=1_000_000)
parser.add_argument("--prioritized", action="store_true")
args = parser.parse_args()


class RandomFrames(gymnasium.vector.VectorEnv):
    """Random frames, out of a thousand different ones; episodes do not end."""

    num_envs = NUM_ENVS
    single_observation_space, single_action_space = spaces.Box(0, 255, (4, 84, 84), np.uint8), spaces.Discrete(6)
    metadata: ClassVar = {"autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP}  # type: ignore[misc]  # no ClassVar in Gymnasium
    frames = np.random.default_rng(0).integers(0, 256, (1000, 84, 84), np.uint8)
    count = 0

    def reset(self, *, seed=None, options=None):
        return self._stacks(), {}

    def step(self, actions):
        self.count += 1
        never = np.zeros(NUM_ENVS, bool)
        return self._stacks(), np.zeros(NUM_ENVS), never, never, {}

    def _stacks(self):
        first = (self.count + 31 * np.arange(NUM_ENVS)) % 990
        return self.frames[first[:, None] + np.arange(4)]


class Report(keras.callbacks.Callback):
    """Prints memory and time after every epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.time()

    def on_epoch_end(self, epoch, logs=None):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"epoch {epoch}: {logs['replay_size']:,.0f} frames, peak {peak:.2f} GiB, {time.time() - self.start:.0f} s",
            flush=True,
        )


inputs = keras.Input((4, 84, 84), dtype="uint8")
pixels = keras.layers.Rescaling(1 / 255)(keras.layers.Flatten()(inputs)[:, :64])
network = keras.Model(inputs, {"action": krp.layers.QValues((6,))(keras.layers.Dense(6)(pixels))})
agent = krp.DQN(
    network,
    rollout_steps=ROWS,
    updates=100,
    replay=krp.ReplaySettings(
        capacity=args.frames,
        batch_size=32,
        learning_starts=args.frames - NUM_ENVS * ROWS,
        prioritized=args.prioritized,
        frame_axis=0,
    ),
)
agent.compile()
print(f"before: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
agent.fit(RandomFrames(), epochs=3, steps_per_epoch=100, verbose=0, callbacks=[Report()])
