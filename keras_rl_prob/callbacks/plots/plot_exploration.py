"""Plots of exploration over the environment steps of a training."""

import itertools
from collections.abc import Mapping

from keras_rl_prob.agents.value_based.exploration import Exploration
from keras_rl_prob.callbacks.plots.plot_learning_curves import COLOURS, picture
from keras_rl_prob.types import Path


def plot_exploration(
    explorations: Mapping[str, Exploration], env_steps: int, path: Path, title: str | None = None
) -> None:
    """Plots epsilon or the temperature over the steps of a training, what `simulate` returns, a line for each exploration.

    Needs Matplotlib: `pip install "keras_rl_prob[plot]"`.

    Args:
        explorations: Dict from a label to an `EpsilonGreedy` or `Boltzmann`.
        env_steps: Environment steps of the training.
        path: File of the plot; the suffix sets the format, such as PNG. Its folder is created if necessary.
        title: Title of the plot.

    Raises:
        ValueError: `explorations` is no such dict, or `env_steps` no positive integer.
        ImportError: Matplotlib is missing.

    Example:
    ```python
    explorations = {"falls once": krp.EpsilonGreedy(), "rises again": krp.EpsilonGreedy(perturb_every=5_000)}
    krp.callbacks.plot_exploration(explorations, 20_000, "epsilon.png")
    ```
    """
    if (
        not isinstance(explorations, Mapping)
        or not explorations
        or not all(isinstance(one, Exploration) for one in explorations.values())
    ):
        raise ValueError(
            f'`explorations` must be like {{"linear": krp.EpsilonGreedy()}}. Received: explorations={explorations!r}'
        )
    lines = {label: one.simulate(env_steps) for label, one in explorations.items()}
    with picture(path, title) as axes:
        axes.set_ylabel(" or ".join(sorted({one.name for one in explorations.values()})))
        for (label, line), colour in zip(lines.items(), itertools.cycle(COLOURS), strict=False):
            axes.plot(*line, color=colour, linewidth=2, label=label)
