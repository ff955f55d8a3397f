"""Returns and lengths over the last episodes, and the number of episodes."""

import collections

import keras

from keras_rl_prob import checks
from keras_rl_prob.callbacks.trained import check_training
from keras_rl_prob.types import Logs


class EpisodeWindow(keras.callbacks.Callback):
    """Adds `return_window` and `length_window` to the logs of an epoch, means over the last training episodes, and `episodes`.

    While `return` is the mean over the episodes that ended in the epoch, however many, the window has the same number in every
    epoch. It has whole rollouts: the latest ones in which at least `episodes` episodes have ended, or all so far. `episodes` in
    the logs is the number that have ended since training began.

    Args:
        episodes: Episodes in the window.

    Raises:
        ValueError: `episodes` is not a positive integer.

    Example:
    ```python
    agent.fit("CartPole-v1", epochs=5, callbacks=[krp.callbacks.EpisodeWindow(100)])
    ```
    """

    def __init__(self, episodes: int = 100) -> None:
        super().__init__()
        self.episodes = checks.integer("episodes", episodes)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Empties the window."""
        check_training(self)
        self._window: collections.deque[tuple[float, ...]] = collections.deque()
        self._ended = 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Notes that the metrics begin anew."""
        self._before: tuple[float, ...] = (0.0, 0.0, 0.0)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Adds the episodes that ended in the last rollouts."""
        returns, lengths = (next(m for m in self.model.metrics if m.name == name) for name in ("return", "length"))
        sums = tuple(float(x.numpy()) for x in (returns.count, returns.total, lengths.total))
        count, *_ = new = tuple(now - before for now, before in zip(sums, self._before, strict=True))
        self._before = sums
        self._ended += round(count)
        if count:
            self._window.append(new)
        while self._window and sum(n for n, *_ in self._window) - self._window[0][0] >= self.episodes:
            self._window.popleft()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Adds the entries, NaN as long as no episode has ended."""
        count, returns, lengths = (
            (sum(column) for column in zip(*self._window, strict=True)) if self._window else (0, 0, 0)
        )
        nan = float("nan")
        means = {"return_window": returns / count, "length_window": lengths / count} if count else {}
        logs |= {"return_window": nan, "length_window": nan} | means | {"episodes": self._ended}
