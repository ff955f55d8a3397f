"""Trains in processes that are killed with SIGKILL at random times and restarted, then once without interruption.

    python killed_training.py FOLDER KILLS SEED

Writes `killed.csv` and `killed.npz` (the log, and all weights and optimizer variables) and `whole.csv`, `whole.npz`. Each
process is a fork of this one, which has imported everything and run nothing, so that it starts immediately.
"""

import os
import pathlib
import random
import signal
import sys
import time

import keras
import numpy as np

import keras_rl_prob as krp
from keras_rl_prob.callbacks import RunLog

EPOCHS_PER_LIFE = 6


def train(folder, name, epochs):
    """The training of one process, as in a user's script."""
    keras.utils.set_random_seed(3)
    agent = krp.RecurrentPPO(
        krp.networks.recurrent("tf/CartPoleNoVel-v1", units=8, shared=True),
        rollout_steps=16,
        minibatches=2,
        update_epochs=2,
        normalize_observations=True,
        kl_penalty=krp.KLPenalty(),
        target_kl=0.02,
        entropy_coef=keras.optimizers.schedules.PolynomialDecay(0.02, 4 * epochs, 0.0),
    )
    agent.compile(keras.optimizers.Adam(3e-3), jit_compile=False)
    log = RunLog(folder / f"{name}.csv")  # before the backup: the row of an epoch is written before the epoch counts
    backup = keras.callbacks.BackupAndRestore(folder / name, delete_checkpoint=False)
    agent.fit("tf/CartPoleNoVel-v1", epochs=epochs, steps_per_epoch=8, num_envs=8, verbose=0, callbacks=[log, backup])
    variables = [variable.numpy() for variable in (*agent.weights, *agent.optimizer.variables)]
    np.savez(folder / f"{name}.npz", *variables)


def start(*arguments):
    """Forks a process that trains; returns its id."""
    process = os.fork()
    if process:
        return process
    try:
        train(*arguments)
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def rows(path):
    """Epochs in a log so far."""
    return max(0, path.read_bytes().count(b"\n") - 1) if path.exists() else 0


def finish(process):
    """Waits for a process; raises an error unless its exit status is 0."""
    _, status = os.waitpid(process, 0)
    if status:
        raise SystemExit(f"a training ended with status {status}")


def main():
    """See the module."""
    folder, kills, choose = pathlib.Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    epochs = kills * (EPOCHS_PER_LIFE + 1) + 2
    undisturbed = start(folder, "whole", epochs)
    for kill in range(kills):
        process = start(folder, "killed", epochs)
        target = rows(folder / "killed.csv") + choose.randint(1, EPOCHS_PER_LIFE)
        while rows(folder / "killed.csv") < target:
            if os.waitpid(process, os.WNOHANG)[0]:
                raise SystemExit(f"life {kill} ended by itself")
            time.sleep(0.001)
        time.sleep(choose.uniform(0, 0.15))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        print(f"killed after {rows(folder / 'killed.csv')} epochs", flush=True)
    finish(start(folder, "killed", epochs))
    finish(undisturbed)


if __name__ == "__main__":
    main()
