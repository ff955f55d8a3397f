"""Resident memory over 1,000 rollouts; prints it every 100 and the growth after the first 100.

python benchmarks/memory.py
"""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

import keras_rl_prob as krp


def resident_mib():
    """Resident memory of this process in MiB."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Memory(keras.callbacks.Callback):
    """Prints the resident memory after every epoch of 100 rollouts."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(resident_mib())
        print(f"{(epoch + 1) * 100:5} rollouts: {self.seen[-1]:.1f} MiB", flush=True)


for env in ("tf/CartPole-v1", "CartPole-v1"):
    print(env)
    memory = Memory()
    agent = krp.RecurrentPPO()
    agent.compile()
    agent.fit(env, epochs=10, steps_per_epoch=100 * 16, callbacks=[memory], verbose=0)
    print(f"growth from 100 to 1,000 rollouts: {memory.seen[-1] - memory.seen[0]:+.1f} MiB")
