"""The pictures of the page "Why does my agent not learn?": for each cause a run with it, and one with its cure.

python docs/examples/not_learning.py [--only memory] [--folder docs/curves] [--seed 1]

Needs `pip install "keras_rl_prob[plot]"`. All of it takes about four minutes on two CPU cores.
"""

import argparse
import pathlib
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from matplotlib.figure import Figure

import keras_rl_prob as krp
from keras_rl_prob.envs.native import CartPole, Pendulum

COLOURS = "#d55e00", "#0072b2"  # with the cause, with the cure


class FarAway(CartPole):
    """CartPole whose observations are all close to 1,000."""

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """The state, measured from another origin."""
        return 1000.0 + state


class Run(NamedTuple):
    """A training run; `fit` has further arguments of `Agent.fit`."""

    label: str
    env: Any
    agent: krp.Agent
    epochs: int = 6
    fit: dict[str, Any] = {}  # noqa: RUF012 (nobody changes it)


CAUSES: dict[str, tuple[str, list[Run]]] = {
    "reward_scale": (
        "explained_variance",
        [
            Run(
                "rewards of -16 to 0 as they are",
                Pendulum(32),
                krp.PPO(discount=0.9, entropy_coef=0.0, update_epochs=10, normalize_rewards=False),
                epochs=8,
            ),
            Run(
                "normalize_rewards=True",
                Pendulum(32),
                krp.PPO(discount=0.9, entropy_coef=0.0, update_epochs=10),
                epochs=8,
            ),
        ],
    ),
    "observations": (
        "entropy",
        [
            Run("observations around 1,000", FarAway(32), krp.PPO()),
            Run("normalize_observations=True", FarAway(32), krp.PPO(normalize_observations=True)),
        ],
    ),
    "environments": (
        "entropy",
        [
            Run("512 environments", CartPole(512), krp.PPO(), fit={"steps_per_epoch": 16}),
            Run("32 environments", CartPole(32), krp.PPO(), epochs=9),
        ],
    ),
    "entropy": (
        "entropy",
        [
            Run("entropy_coef=1", CartPole(32), krp.PPO(entropy_coef=1.0)),
            Run("entropy_coef=0.01", CartPole(32), krp.PPO()),
        ],
    ),
    "memory": (
        "explained_variance",
        [
            Run("PPO", "tf/CartPoleNoVel-v1", krp.PPO(), epochs=8),
            Run("RecurrentPPO", "tf/CartPoleNoVel-v1", krp.RecurrentPPO(), epochs=8),
        ],
    ),
    "horizon": (
        "entropy",
        [
            Run("discount 0.5", CartPole(32), krp.PPO(discount=0.5)),
            Run("discount 0.99", CartPole(32), krp.PPO()),
        ],
    ),
}


def main() -> None:
    """Trains, and writes a picture for each cause."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=CAUSES)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("docs/curves"), help="default: docs/curves")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    for cause, (entry, runs) in CAUSES.items():
        if args.only in (None, cause):
            draw(args.folder / f"not_learning_{cause}.png", entry, {run.label: train(run, args.seed) for run in runs})


def train(run: Run, seed: int) -> dict[str, list[float]]:
    """Trains and returns the logs."""
    keras.utils.set_random_seed(seed)
    run.agent.compile(keras.optimizers.Adam(1e-3, epsilon=1e-5, global_clipnorm=0.5))
    logs = run.agent.fit(run.env, epochs=run.epochs, seed=seed, verbose=0, **run.fit).history
    print(
        run.label,
        {name: [round(x, 3) for x in logs[name]] for name in ("return", "entropy", "explained_variance", "kl")},
    )
    return logs


def draw(path: pathlib.Path, entry: str, logs: dict[str, dict[str, list[float]]]) -> None:
    """Draws the returns, and the entry of the logs that shows the cause."""
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("return", entry), strict=True):
        for (label, log), colour in zip(logs.items(), COLOURS, strict=True):
            axes.plot(log["env_steps"], log[name], "o-", color=colour, markersize=3, label=label)
        axes.set(xlabel="environment steps", title=name)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:,.0f}k")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
