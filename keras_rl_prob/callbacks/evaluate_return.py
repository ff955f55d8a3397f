"""Evaluation every so many epochs."""

import contextlib

import keras

from keras_rl_prob import checks
from keras_rl_prob.envs.factory import Env
from keras_rl_prob.types import Logs


class EvaluateReturn(keras.callbacks.Callback):
    """Plays whole episodes every `every` epochs and adds `<name>_return`, `<name>_length` and `<name>_return_std` to the logs.

    Keras passes the same logs to all callbacks in the order of their list, so callbacks that use these entries
    (`EarlyStopping`, `ModelCheckpoint`, `RunLog`, ...) must come after this one; Keras' `History` and progress bar always do.

    The first epoch of a run is always evaluated, and epochs without an evaluation repeat the results of
    the last one. So every epoch has the entries, and they are always numbers: callbacks that keep a best value never
    start from NaN, and `ModelCheckpoint(save_best_only=True)` never saves without a value.
    Patience counts epochs, not evaluations.

    The agent, its random numbers and the training environments are not changed. The evaluation is traced and compiled
    once per run.

    Args:
        env: Environment to evaluate in, as in `fit`. An environment object must not be the one used for training.
        every: Number of epochs from one evaluation to the next.
        episodes: Number of episodes per evaluation.
        deterministic: Whether to take the mode of the policy instead of samples.
        seed: Integer; all evaluations use the same random numbers.
        name: Prefix of the entries.

    Raises:
        ValueError: `every` or `episodes` is not a positive integer.

    Example:
    ```python
    agent.fit(
        "CartPole-v1",
        epochs=50,
        callbacks=[
            krp.callbacks.EvaluateReturn("CartPole-v1", every=5, episodes=100),
            keras.callbacks.EarlyStopping("eval_return", mode="max", patience=15),
        ],
    )
    ```
    """

    def __init__(
        self,
        env: Env,
        every: int = 1,
        episodes: int = 20,
        deterministic: bool = True,
        seed: int = 0,
        name: str = "eval",
    ) -> None:
        super().__init__()
        self.env = env
        self.every, self.episodes = checks.integer("every", every), checks.integer("episodes", episodes)
        self.deterministic, self.seed, self.name = deterministic, checks.seed("seed", seed), checks.text("name", name)
        self._opened = contextlib.ExitStack()

    def on_train_begin(self, logs: Logs = None) -> None:
        """Opens the environments."""
        self._opened.close()  # those of an interrupted run
        self._latest = None
        self._evaluation = self.model.evaluation(self.env, self.episodes, self.deterministic, self.seed, self._opened)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Evaluates if due, and adds the entries."""
        if self._latest is None or (epoch + 1) % self.every == 0:
            self._latest = self._evaluate()
        logs.update(self._latest)

    def on_train_end(self, logs: Logs = None) -> None:
        """Closes the environments."""
        self._opened.close()

    def _evaluate(self):
        try:
            results = self._evaluation()
        except Exception:
            with self._opened:  # closes them, and raises an environment's own exception
                raise
        return {f"{self.name}_{key}": value for key, value in results.items()}
