"""A limit of environment steps."""

import keras

from keras_rl_prob import checks
from keras_rl_prob.callbacks.trained import check_training
from keras_rl_prob.types import Logs


class EnvStepLimit(keras.callbacks.Callback):
    """Stops training after the first rollout with which the agent reaches `limit` environment steps.

    The current epoch ends early, but is validated, logged and saved like any other.

    Args:
        limit: Environment steps in total, including those of earlier training runs of the agent.

    Raises:
        ValueError: `limit` is not a positive integer.

    Example:
    ```python
    agent.fit("CartPole-v1", epochs=1000, callbacks=[krp.callbacks.EnvStepLimit(100_000)])
    ```
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = checks.integer("limit", limit)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Checks that an agent is trained."""
        check_training(self)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Checks the step count, after every rollout."""
        if logs["env_steps"] >= self.limit:
            self.model.stop_training = True
