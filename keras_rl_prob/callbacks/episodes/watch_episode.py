"""Shows episodes during training."""

import contextlib
from typing import Any

import keras

from keras_rl_prob import checks
from keras_rl_prob.agents.network_checks import check_same_spaces
from keras_rl_prob.callbacks.trained import check_agent
from keras_rl_prob.envs.playing.episodes import MAX_STEPS
from keras_rl_prob.envs.playing.rendering import Drawable, drawn
from keras_rl_prob.types import Logs


class WatchEpisode(keras.callbacks.Callback):
    """Shows an episode of the agent every `every` epochs, in a window that stays open; training waits meanwhile.

    The agent, its random numbers and the training environments are not changed. For videos use `RecordVideo`.

    Args:
        env: As in `agent.play`.
        every: Number of epochs from one episode to the next.
        render_mode: As in `agent.play`. In a `"terminal"` the picture covers the progress of training while it is shown.
        fps: As in `agent.play`.
        deterministic: Whether to take the mode of the policy instead of samples.
        max_steps: Number of steps after which an episode is left.
        seed: Seed of all episodes, so that they can be compared.

    Attributes:
        episode: What `agent.play` returned for the last episode, with `"frames"` if `render_mode` is `"rgb_array"`; `None`
            before.

    Raises:
        ValueError: When training begins: `env` cannot be drawn. Before: a number is not positive.
        RuntimeError: When training begins: there is no display for a window.

    Example:
    ```python
    agent.fit("CartPole-v1", epochs=20, callbacks=[krp.callbacks.WatchEpisode("CartPole-v1", every=5)])
    ```
    """

    def __init__(
        self,
        env: Drawable,
        every: int = 1,
        render_mode: str | None = "human",
        fps: float | None = None,
        deterministic: bool = True,
        max_steps: int = MAX_STEPS,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.env, self.render_mode, self.every = env, render_mode, checks.integer("every", every)
        self.fps = checks.number("fps", fps, above=0.0, none=True)
        self.deterministic = checks.flag("deterministic", deterministic)
        self.max_steps, self.seed = checks.integer("max_steps", max_steps), checks.seed("seed", seed, least=0)
        self.episode: dict[str, Any] | None = None
        self._opened = contextlib.ExitStack()

    def on_train_begin(self, logs: Logs = None) -> None:
        """Makes the environment."""
        check_agent(self)
        self._opened.close()  # that of an interrupted run
        with contextlib.ExitStack() as stack:
            self._made = stack.enter_context(drawn(self.env, self.render_mode))
            check_same_spaces(self.model, self._made)
            self._opened = stack.pop_all()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Shows an episode if due."""
        if (epoch + 1) % self.every:
            return
        how = {"deterministic": self.deterministic, "max_steps": self.max_steps, "seed": self.seed}
        try:
            [self.episode] = self.model.play(self._made, render_mode=self.render_mode, fps=self.fps, **how)
        except Exception:
            with self._opened:  # closes it, and raises an environment's own exception
                raise

    def on_train_end(self, logs: Logs = None) -> None:
        """Closes the environment, and with it the window."""
        self._opened.close()
