"""The end of a training that is measured in environment steps."""

import keras

from keras_rl_prob import checks
from keras_rl_prob.types import Logs


class EnvStepLimit(keras.callbacks.Callback):
    """Stops the training at the end of the first rollout that brings the agent to `limit` environment steps.

    The epoch that this happens in ends early and is otherwise an epoch like any other: it is validated, logged and saved.

    Args:
        limit: Environment steps in total, those of earlier trainings of the agent included.

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

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Looks at the step count, after every rollout."""
        if logs["env_steps"] >= self.limit:
            self.model.stop_training = True
