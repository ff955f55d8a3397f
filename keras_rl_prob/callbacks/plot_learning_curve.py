"""The learning curve as a picture."""

import os
import pathlib

import keras


class PlotLearningCurve(keras.callbacks.Callback):
    """Draws the return over environment steps to a PNG, anew after every epoch.

    Needs Matplotlib: `pip install "keras_rl_prob[video]"`.

    Args:
        path: Where the PNG goes; its folder is made if need be.
        title: Text above the curve; the agent's name when left out.

    Example:
    ```python
    agent.fit("CartPole-v1", epochs=10, callbacks=[krp.callbacks.PlotLearningCurve("runs/curve.png")])
    ```
    """

    def __init__(self, path, title=None):
        super().__init__()
        self.path, self.title = pathlib.Path(path), title
        self._rows = []

    def on_epoch_end(self, epoch, logs=None):
        """Adds a point and draws."""
        logs = logs or {}
        self._rows.append({name: float(logs.get(name, "nan")) for name in ("env_steps", "return", "val_return")})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.part")
        self._draw(temporary)
        os.replace(temporary, self.path)

    def _draw(self, path):
        pyplot = _matplotlib()
        figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
        steps = [row["env_steps"] for row in self._rows]
        axes.plot(steps, [row["return"] for row in self._rows], color="#9ab8d8", marker=".", label="training episodes")
        evaluated = [
            (row["env_steps"], row["val_return"]) for row in self._rows if row["val_return"] == row["val_return"]
        ]
        if evaluated:
            axes.plot(*zip(*evaluated, strict=True), color="#1f4e79", marker="o", markersize=4, label="evaluation")
        axes.set(xlabel="environment steps", ylabel="mean return", title=self.title or self.model.name)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="lower right")
        figure.savefig(path, dpi=150, format="png")
        pyplot.close(figure)


def _matplotlib():
    try:
        from matplotlib import pyplot  # noqa: PLC0415 (optional dependency)
    except ImportError as error:
        raise ImportError('`PlotLearningCurve` needs Matplotlib: pip install "keras_rl_prob[video]"') from error
    return pyplot
