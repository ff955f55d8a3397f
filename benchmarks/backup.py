"""Cost of a backup of a replay buffer of Atari-like frames per epoch: bytes, seconds, and RAM while it is written.

python benchmarks/backup.py [--callback Backup] [--capacity 100000] [--epochs 3] [--save]
"""

import argparse
import pathlib
import tempfile
import time
from typing import Any

import gymnasium
import keras
import numpy as np
import tensorflow as tf

import keras_rl_prob as krp

ENVS, ROLLOUT = 8, 195  # an epoch of 8 rollouts has 12,480 frames


def frames(count=3000, side=84):
    """Frames `[count, side, side]`: a fixed scene, and twelve textured objects that move across it."""
    rng = np.random.default_rng(0)
    scene = np.repeat(np.repeat(rng.integers(0, 6, (12, 12)) * 40, 7, 0), 7, 1).astype(np.uint8)
    images = np.repeat(scene[None], count, 0)
    for _ in range(12):
        texture, place, speed = rng.integers(0, 256, (6, 6)), rng.integers(0, 78, 2), rng.integers(-3, 4, 2)
        for t in range(count):
            y, x = (place + t * speed) % 78
            images[t, y : y + 6, x : x + 6] = texture
    return images


class Scenes(krp.envs.NativeEnv):
    """Stacks of four frames, whatever the actions."""

    observation_space = gymnasium.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    action_space = gymnasium.spaces.Discrete(4)
    max_episode_steps = 1000
    images = frames()

    def initial_state(self, seed):
        """Somewhere."""
        return tf.random.stateless_uniform((self.num_envs,), seed, 0, 2000, tf.int32)

    def observe(self, state):
        """The latest frames."""
        return tf.gather(self.images, (state[:, None] + tf.range(4)) % len(self.images))

    def transition(self, state, action, seed):
        """The next frame."""
        return state + 1, tf.cast(action, tf.float32), tf.zeros((self.num_envs,), tf.bool)


def resident(name="VmRSS"):
    """Bytes of resident memory of the process, or the maximum so far (`VmHWM`)."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def measured(what, folder, write):
    """Prints the cost of `write()`."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    start, base = time.perf_counter(), resident()
    write()
    seconds, peak = time.perf_counter() - start, resident("VmHWM") - base
    new = [path for path in folder.rglob("*") if path.is_file() and before.get(path) != path.stat().st_mtime_ns]
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    written = sum(path.stat().st_size for path in new)
    print(
        f"{what}: {written / 1e6:.1f} MB written, {size / 1e6:.1f} MB in the folder, {seconds:.2f} s, {peak / 1e6:.0f} MB more "
        f"memory at most, of {base / 1e6:.0f} MB",
        flush=True,
    )


def main():
    """Trains for some epochs with a full replay buffer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--callback", default="Backup")
    parser.add_argument("--capacity", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    made: Any = getattr(krp.callbacks, args.callback, None) or getattr(keras.callbacks, args.callback)

    class Measured(made):
        def on_epoch_end(self, epoch, logs=None):
            measured(f"epoch {epoch}", folder, lambda: super(Measured, self).on_epoch_end(epoch, logs))

        def on_train_begin(self, logs=None):
            measured("restored", folder, lambda: super(Measured, self).on_train_begin(logs))

    def agent():
        replay = krp.ReplaySettings(capacity=args.capacity, learning_starts=args.capacity - 1000, frame_axis=0)
        new = krp.DQN(rollout_steps=ROLLOUT, updates=1, replay=replay)
        new.compile(jit_compile=False)
        return new

    settings = {"num_envs": ENVS, "steps_per_epoch": 8, "verbose": 0, "seed": 0}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        trained = agent()
        callback = Measured(folder / "backup", delete_checkpoint=False)
        start = time.perf_counter()
        trained.fit(Scenes(ENVS), epochs=args.epochs, callbacks=[callback], **settings)
        print(f"trained {time.perf_counter() - start:.1f} s, {resident() / 1e6:.0f} MB")
        if args.save:
            measured("agent.save", folder, lambda: trained.save(folder / "agent.keras"))
        goes_on = {"epochs": args.epochs + 1, "initial_epoch": args.epochs, **settings}
        measured("goes on", folder, lambda: trained.fit(Scenes(ENVS), **goes_on))
        trained = None
        resumed = agent()
        callback = Measured(folder / "backup", delete_checkpoint=False)
        resumed.fit(Scenes(ENVS), epochs=args.epochs + 1, callbacks=[callback], **settings)


if __name__ == "__main__":
    main()
