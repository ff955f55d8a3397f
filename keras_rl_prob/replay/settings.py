"""The numbers of prioritised replay, as one object."""

import keras
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.schedules import current


@keras.saving.register_keras_serializable("keras_rl_prob")
class PrioritizedReplay:
    """Draws what surprised more often: with probability proportional to `(|TD error| + epsilon)^alpha`.

    Args:
        alpha: From 0, which is uniform, to 1.
        beta: How far importance weights make up for it, from 0 to 1. A float or a Keras schedule over environment steps;
            `None` is 0.4. The paper lets it grow to 1 during the training.
        epsilon: What keeps a transition without error in the game.

    Raises:
        ValueError: `alpha` is not between 0 and 1.

    References:
        Schaul et al., "Prioritized experience replay", 2016, https://arxiv.org/abs/1511.05952.

    Example:
    ```python
    agent = krp.DQN(prioritized=krp.PrioritizedReplay(beta=keras.optimizers.schedules.PolynomialDecay(0.4, 100_000, 1.0)))
    ```
    """

    def __init__(self, alpha=0.6, beta=None, epsilon=1e-6):
        self.alpha = checks.fraction("alpha", alpha)
        self.beta = checks.number("beta", beta, 0.0, 1.0, none=True, schedule=True)
        self.epsilon = checks.number("epsilon", epsilon, above=0.0)

    def current_beta(self, env_steps):
        """Beta after `env_steps` environment steps, a float32 scalar."""
        return tf.cast(current(0.4 if self.beta is None else self.beta, env_steps), tf.float32)

    def get_config(self):
        """The constructor's arguments."""
        return {
            "alpha": self.alpha,
            "beta": keras.saving.serialize_keras_object(self.beta),
            "epsilon": self.epsilon,
        }

    @classmethod
    def from_config(cls, config):
        """The object that `get_config` described."""
        return cls(**config | {"beta": keras.saving.deserialize_keras_object(config["beta"])})
