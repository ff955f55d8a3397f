"""How the rate of training grows with environments, rollout length and units, and whether memory does with rollouts.

    python benchmarks/scaling.py [--plots FOLDER]

RecurrentPPO (Dense 64 -> LSTM 64 for policy and value) and PPO on native CartPole, 4 x 4 updates, 32 environments x 128 steps
unless varied; environment steps per second, the median of the epochs after the first, of two agents the faster: on a shared
machine a training is slow now and then. With `--plots`, draws `scaling.png`, and `scaling_memory.png`, the memory of the
process over 2,000 rollouts of 32 x 16.
"""

import argparse
import os
import pathlib
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras_rl_prob as krp  # isort: skip

import keras
import matplotlib as mpl
import matplotlib.pyplot as plt

VARIED = {
    "environments": [8, 32, 128, 512, 2048, 4096],
    "rollout steps": [16, 32, 64, 128, 256, 512, 1024],
    "units": [32, 64, 128, 256, 512],
}
USUAL = {"environments": 32, "rollout steps": 128, "units": 64}
ENV = "tf/CartPole-v1"
STEPS = 2**17  # environment steps of an epoch, or a rollout if that is more


class Clock(keras.callbacks.Callback):
    """Environment steps per second of each epoch but the first."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def on_epoch_begin(self, epoch, logs=None):
        self.start, self.steps = time.perf_counter(), int(self.model.env_steps.numpy())

    def on_epoch_end(self, epoch, logs=None):
        if epoch:
            seconds = time.perf_counter() - self.start
            self.rates.append((int(self.model.env_steps.numpy()) - self.steps) / seconds)


def agent_of(name, units, steps):
    """A compiled agent."""
    if name == "PPO":
        agent = krp.PPO(krp.networks.feed_forward(ENV, (units, units)), rollout_steps=steps)
    else:
        agent = krp.RecurrentPPO(krp.networks.recurrent(ENV, units=units, shared=True), rollout_steps=steps)
    agent.compile()
    return agent


def rate(name, setting):
    """Environment steps per second."""
    num_envs, steps, found = setting["environments"], setting["rollout steps"], []
    rollouts = max(1, STEPS // (num_envs * steps))
    for _ in range(2):
        agent, clock = agent_of(name, setting["units"], steps), Clock()
        agent.fit(ENV, epochs=4, num_envs=num_envs, steps_per_epoch=16 * rollouts, verbose=0, callbacks=[clock])
        found.append(statistics.median(clock.rates))
    return max(found)


def memory(name, rollouts=2000, epochs=20):
    """MiB of the process after each epoch."""

    def resident(epoch, logs):
        status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
        found.append(int(status.split("VmRSS:")[1].split()[0]) / 1024)

    found: list[float] = []
    seen = keras.callbacks.LambdaCallback(on_epoch_end=resident)
    agent = agent_of(name, 64, 16)
    agent.fit(ENV, epochs=epochs, num_envs=32, steps_per_epoch=16 * rollouts // epochs, verbose=0, callbacks=[seen])
    return found


def main():
    """Prints the tables and draws them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plots", type=pathlib.Path)
    folder = parser.parse_args().plots
    mpl.use("agg")
    remembered = {name: memory(name) for name in ("RecurrentPPO", "PPO")}
    for name, values in remembered.items():
        print(f"{name}: {values[0]:.0f} MiB after 100 rollouts, {values[-1]:.0f} after 2,000", flush=True)
    figure, plots = plt.subplots(1, len(VARIED), figsize=(12, 3.5), sharey=True)
    for plot, (what, values) in zip(plots, VARIED.items(), strict=True):
        print(f"\n| {what} | RecurrentPPO | PPO |\n| --- | --- | --- |")
        found = []
        for value in values:
            found.append([rate(name, USUAL | {what: value}) for name in ("RecurrentPPO", "PPO")])
            print(f"| {value:,} | {found[-1][0]:,.0f} | {found[-1][1]:,.0f} |", flush=True)
        for name, rates in zip(("RecurrentPPO", "PPO"), zip(*found, strict=True), strict=True):
            plot.loglog(values, rates, "o-", label=name)
        plot.set_xlabel(what)
        plot.set_xticks(values, [f"{value:,}" for value in values], fontsize="small", rotation=45)
        plot.minorticks_off()
        plot.grid(alpha=0.3)
    if folder is None:
        return
    plots[0].set_ylabel("environment steps per second")
    plots[0].legend()
    figure.savefig(folder / "scaling.png", dpi=110, bbox_inches="tight")
    figure, plot = plt.subplots(figsize=(5, 3.2))
    for name, values in remembered.items():
        plot.plot([100 * (epoch + 1) for epoch in range(len(values))], values, label=name)
    plot.set(xlabel="rollouts", ylabel="MiB", ylim=(0, 1.3 * max(map(max, remembered.values()))))
    plot.grid(alpha=0.3)
    plot.legend()
    figure.savefig(folder / "scaling_memory.png", dpi=110, bbox_inches="tight")


main()
