"""The learning curve of a run, plotted during training."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_rl_prob import checks
from keras_rl_prob.callbacks.plots.plot_learning_curves import (
    EVALUATIONS,
    check_picture,
    curve,
    figure_class,
    picture,
    read_log,
)
from keras_rl_prob.callbacks.trained import check_agent
from keras_rl_prob.types import Logs, Path

TRAINING, EVALUATION = "#9ab8d8", "#1f4e79"


class PlotLearningCurve(keras.callbacks.Callback):
    """Plots the return over environment steps after every epoch.

    One curve has the mean return of training episodes, the other that of evaluations, by `validation_data` or by an
    `EvaluateReturn` earlier in the list of callbacks. Needs Matplotlib: `pip install "keras_rl_prob[plot]"`.

    Args:
        path: File of the plot; the suffix sets the format, such as PNG. Its folder is created if necessary.
        title: Title of the plot; default: the agent's name.
        log: CSV file of a `RunLog` earlier in the list of callbacks, from which the curve is plotted, so that it includes
            the epochs before a resume. Without it the curve has the epochs since this object was created.

    Raises:
        ImportError: Matplotlib is missing.

    Example:
    ```python
    agent.fit("CartPole-v1", epochs=10, callbacks=[krp.callbacks.PlotLearningCurve("runs/curve.png")])
    ```
    """

    def __init__(self, path: Path, title: str | None = None, log: Path | None = None) -> None:
        super().__init__()
        self.path, self.title, self.log = pathlib.Path(checks.path("path", path)), title, log
        self._rows: list[dict[str, Any]] = []
        figure_class()  # raises its `ImportError` here, not after the first epoch

    def on_train_begin(self, logs: Logs = None) -> None:
        """Creates the folder and looks at the suffix, so that their errors are raised before training."""
        check_agent(self)
        check_picture(self.path)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Plots."""
        self._rows = [*self._rows, logs or {}] if self.log is None else read_log(self.log)
        draw(self.path, self._rows, self.title or self.model.name)


def draw(path: Path, rows: Sequence[Mapping[str, Any]], title: str | None) -> None:
    """Writes the plot of a run.

    Args:
        path: File of the plot; the suffix sets the format.
        rows: List of the logs of epochs, dicts of numbers or of strings as in a CSV file.
        title: Title of the plot.
    """
    trained, evaluated = curve(rows, "return"), curve(rows, *EVALUATIONS)
    with picture(path, title) as axes:
        axes.plot(*trained, color=TRAINING, marker=".", label="training episodes")
        if evaluated.size:
            axes.plot(*evaluated, color=EVALUATION, marker="o", markersize=4, label="evaluation")
