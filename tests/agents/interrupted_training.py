"""Trains in a single compiled call that takes minutes, for `test_python_calls.py`, which interrupts it as Ctrl-C would."""

import signal
import sys
import threading
import time

import keras_rl_prob as krp


def say_when_it_runs(main):
    """Prints a line when the main thread has been in one call of TensorFlow for a second, so that tracing has ended."""
    seen = 0
    while seen < 10:
        seen = seen + 1 if sys._current_frames()[main].f_code.co_name == "quick_execute" else 0
        time.sleep(0.1)
    print("begun", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # processes in the background ignore the signal
    agent = krp.PPO(rollout_steps=100_000, minibatches=1, update_epochs=1)
    agent.compile(steps_per_execution=10, jit_compile=True)
    threading.Thread(target=say_when_it_runs, args=(threading.get_ident(),), daemon=True).start()
    agent.fit("tf/CartPole-v1", num_envs=8, steps_per_epoch=10, verbose=0)
    sys.exit("It ended before it was interrupted.")
