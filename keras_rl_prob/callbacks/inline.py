"""A learning curve and an episode, shown in a notebook."""

import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import gymnasium
import keras
from gymnasium.envs.registration import EnvSpec

from keras_rl_prob.agents import Agent
from keras_rl_prob.callbacks.episodes.record_episode import record_episode
from keras_rl_prob.callbacks.plots.plot_learning_curve import draw
from keras_rl_prob.callbacks.plots.plot_learning_curves import read_log
from keras_rl_prob.learning.callbacks import EpochHistory
from keras_rl_prob.types import Path


def show_curve(history: keras.callbacks.History | Path, title: str | None = None) -> None:
    """Shows the learning curve of a training run in a notebook: returns over environment steps.

    Needs Matplotlib: `pip install "keras_rl_prob[plot]"`. Outside of notebooks use `PlotLearningCurve`, which writes a file.

    Args:
        history: What `fit` returned, or the path of a CSV log as `RunLog` and `CSVLogger` write it.
        title: Title of the plot.

    Raises:
        TypeError: `history` is neither.
        RuntimeError: There is no notebook to show it in.
        ImportError: Matplotlib is missing.

    Example:
    ```python
    history = agent.fit("CartPole-v1", epochs=10, validation_data="CartPole-v1")
    krp.callbacks.show_curve(history)
    ```
    """
    display = _notebook("show_curve", "`PlotLearningCurve` writes a file")
    if isinstance(history, keras.callbacks.History):
        rows: list[Any] = _rows(history)
    elif isinstance(history, str | pathlib.Path):
        rows = list(read_log(history))
    else:
        raise TypeError(
            f"`history` must be what `fit` returned, or the path of a CSV log. Received: history={history!r}"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "curve.png")
        draw(path, rows, title)
        display.display(display.Image(path.read_bytes(), width=700))


def show_episode(
    agent: Agent, env: str | EnvSpec | Callable[[], gymnasium.Env], max_frames: int = 500, seed: int = 0
) -> dict[str, float]:
    """Plays one deterministic episode and shows it in a notebook as a video, which is part of the notebook.

    Needs MoviePy: `pip install "keras_rl_prob[video]"`. Outside of notebooks use `record_episode`, which writes a file.

    Args:
        agent: A built agent. It is not changed.
        env: As in `record_episode`.
        max_frames: Maximum number of frames.
        seed: Seed of the episode.

    Returns:
        `{"return": ..., "length": ...}` of the part that is shown.

    Raises:
        ValueError: `env` cannot be rendered, or its spaces differ from the agent's.
        RuntimeError: There is no notebook to show it in.
        ImportError: MoviePy is missing.

    Example:
    ```python
    krp.callbacks.show_episode(agent, "CartPole-v1")
    ```
    """
    display = _notebook("show_episode", "`record_episode` writes a file")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "episode.mp4")
        played = record_episode(agent, env, path, max_frames, seed)
        display.display(display.Video(path.read_bytes(), embed=True, mimetype="video/mp4"))
    return played


def _rows(history):
    """The logs of each epoch; of Keras' own history those that all epochs have."""
    if isinstance(history, EpochHistory):
        return history.rows
    whole = [name for name, values in history.history.items() if len(values) == len(history.epoch)]
    return [{name: history.history[name][i] for name in whole} for i in range(len(history.epoch))]


def _notebook(name, instead):
    """The module `IPython.display`; an error outside of notebooks."""
    try:
        from IPython import display, get_ipython  # noqa: PLC0415 (optional dependency)
    except ImportError:
        shell = None
    else:
        shell = get_ipython()
    if shell is None:
        raise RuntimeError(f"`{name}` shows something in a notebook, of Jupyter or IPython. Elsewhere {instead}.")
    return display
