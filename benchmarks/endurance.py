"""Memory, open files and speed of long runs under load: none may change after the first minutes.

    python benchmarks/endurance.py CASE [--minutes 5]

| case | run |
| --- | --- |
| workers | PPO, 64 CartPoles in worker processes |
| infos | PPO, 4 environments whose `info` has 1 MB at each step |
| observations | PPO, 2 environments whose observations have 10 MB |
| episodes | PPO, 16 environments whose episodes have one step |
| collectors | IMPALA, two Ray collectors of 8 native CartPoles; children are collectors, Ray and its object store |
| ppo, dqn | CartPole, with evaluation, best agent, checkpoint and backup after each epoch |

Prints, every twentieth of the time: environment steps, steps per second, memory of the process and of its children in MiB (PSS:
shared pages are divided among processes), and open file descriptors of the process. At the end: the values after the first
quarter of the time and at the end, and the slope of a line through them per hour. Linux only.
"""

import argparse
import os
import pathlib
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gymnasium
import keras
import numpy as np
from gymnasium import spaces

import keras_rl_prob as krp

COLUMNS = "seconds", "env_steps", "steps/s", "MiB", "children", "files"


class Loaded(gymnasium.Env):
    """Episodes of `length` steps with a large observation or info."""

    def __init__(self, length=10, floats=4, info_bytes=0):
        self.observation_space, self.action_space = spaces.Box(-9.0, 9.0, (floats,)), spaces.Discrete(2)
        self._length, self._info_bytes = length, info_bytes

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return self._observation(), self._info()

    def step(self, action):
        self._steps += 1
        return self._observation(), 1.0, self._steps == self._length, False, self._info()

    def _observation(self):
        return np.full(self.observation_space.shape, self._steps / self._length, np.float32)

    def _info(self):
        return {"array": np.zeros(self._info_bytes // 2, np.uint8), "text": "x" * (self._info_bytes // 2)}


def resident_mib(pid):
    """Proportional set size (PSS) of a process in MiB; 0 if it has ended."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def children(pid):
    """Yields the process numbers of all descendants."""
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            yield child
            yield from children(child)


class Endurance(keras.callbacks.Callback):
    """Prints the measurements at intervals, and stops training when the time is over."""

    def __init__(self, minutes):
        super().__init__()
        self.seconds, self.rows, self.start = minutes * 60, [], time.monotonic()
        self.next = 0.0
        print(" ".join(f"{name:>11}" for name in COLUMNS), flush=True)

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.monotonic() - self.start
        if seconds >= self.next:
            self.next += self.seconds / 20
            pid, steps = os.getpid(), int(self.model.env_steps)
            before = self.rows[-1] if self.rows else (0,) * len(COLUMNS)
            rate = (steps - before[1]) / (seconds - before[0])
            used = resident_mib(pid), sum(map(resident_mib, children(pid))), len(os.listdir(f"/proc/{pid}/fd"))
            self.rows.append((seconds, steps, rate, *used))
            print(" ".join(f"{x:11,.0f}" for x in self.rows[-1]), flush=True)
        self.model.stop_training = self.model.stop_training or seconds > self.seconds

    def report(self):
        """Prints the first and the last values and the slope."""
        rows = np.array([row for row in self.rows if row[0] > self.seconds / 4])
        for name, column in list(zip(COLUMNS, rows.T, strict=True))[2:]:
            slope = np.polyfit(rows[:, 0] / 3600, column, 1)[0]
            print(f"{name:>9}: first {column[0]:,.1f}, last {column[-1]:,.1f}, slope {slope:+,.1f} per hour")


def vector(number, workers=False, **kwargs):
    """A vector of `Loaded` environments."""
    kind = gymnasium.vector.AsyncVectorEnv if workers else gymnasium.vector.SyncVectorEnv
    return kind([lambda: Loaded(**kwargs)] * number)


def case(name, folder):
    """The agent, its environment, and further arguments of `fit`."""
    network = krp.networks.feed_forward
    if name == "workers":
        return krp.PPO(rollout_steps=32), gymnasium.make_vec("CartPole-v1", 64, "async"), {"steps_per_epoch": 160}
    if name == "infos":
        return krp.PPO(rollout_steps=32), vector(4, info_bytes=2**20), {}
    if name == "observations":
        env = vector(2, floats=2_500_000)
        return krp.PPO(network(env, (8,)), rollout_steps=4, minibatches=1, update_epochs=1), env, {"steps_per_epoch": 5}
    if name == "episodes":
        return krp.PPO(rollout_steps=32), vector(16, length=1), {"steps_per_epoch": 160}
    if name == "collectors":
        return krp.IMPALA(), "tf/CartPole-v1", {"num_envs": 8, "collectors": 2}
    agent = krp.PPO() if name == "ppo" else krp.DQN(replay=krp.ReplaySettings(capacity=20_000))
    saved = {"monitor": "val_return", "mode": "max"}
    callbacks = [
        keras.callbacks.BackupAndRestore(folder / "backup"),
        keras.callbacks.ModelCheckpoint(folder / "newest.keras"),
        krp.callbacks.BestCheckpoint(folder / "best.keras", **saved),
        krp.callbacks.EvaluateReturn("CartPole-v1", episodes=5, name="more"),
        keras.callbacks.CSVLogger(folder / "log.csv"),
    ]
    more = {"validation_data": "CartPole-v1", "validation_episodes": 5, "num_envs": 4, "callbacks": callbacks}
    return agent, "CartPole-v1", more


def main():
    """Trains for the given time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=["workers", "infos", "observations", "episodes", "collectors", "ppo", "dqn"])
    parser.add_argument("--minutes", type=float, default=5.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        agent, env, more = case(args.case, pathlib.Path(folder))
        agent.compile()
        endurance = Endurance(args.minutes)
        callbacks = [*more.pop("callbacks", []), endurance]
        agent.fit(env, epochs=10**9, callbacks=callbacks, verbose=0, **more)
        endurance.report()
        if not isinstance(env, str):
            env.close()


if __name__ == "__main__":
    main()
