"""Deep Q-learning of the distribution of returns, by quantile regression."""

from typing import Any

import keras
import tensorflow as tf

from keras_rl_prob import checks, networks
from keras_rl_prob.agents.value_based.distributional import DistributionalDQN
from keras_rl_prob.envs.factory import EnvOrSpaces
from keras_rl_prob.ops.temporal_difference import quantile_loss
from keras_rl_prob.types import Nest


@keras.saving.register_keras_serializable("keras_rl_prob")
class QRDQN(DistributionalDQN):
    """`DQN` that learns quantiles of the return of each action; an action's value is their mean.

    The targets of all quantiles of `(s, a)` are the quantiles `theta_j` of the next best action `a'`, each as in `DQN`:

        y_j = R + gamma^m theta_target_j(s', a'),   loss = sum_i mean_j |tau_i - 1(e_ij < 0)| huber(e_ij) / huber_delta,

    where `e_ij = y_j - theta_i(s, a)` and `tau_i = (i + 1/2) / quantiles`. All extensions of `DQN` can be combined with it.
    Priorities are the losses.

    Args:
        network: Functional model for one step: `{"action": QValues((actions,))(means), "quantiles": [B, quantiles, actions]}`.
            `None` makes `krp.networks.q_network(env, dueling=dueling, noisy=noisy, quantiles=quantiles)`.
        quantiles: Number of quantiles of the default network.
        **kwargs: The other arguments of `DQN`.

    Raises:
        ValueError: An argument is out of its range, or does not fit the network or the environment.

    References:
        Dabney et al., "Distributional reinforcement learning with quantile regression", 2018,
        https://arxiv.org/abs/1710.10044.

    Example:
    ```python
    agent = krp.QRDQN(quantiles=32, double=True)
    agent.compile()
    agent.fit("CartPole-v1", epochs=10)
    ```
    """

    network_outputs = ("action", "quantiles")
    argument = "quantiles=50"

    def __init__(self, network: keras.Model | None = None, *, quantiles: int = 50, **kwargs: Any) -> None:
        super().__init__(network, **kwargs)
        self.quantiles = checks.integer("quantiles", quantiles)

    def default_network(self, env: EnvOrSpaces) -> keras.Model:
        """`krp.networks.q_network` with quantiles."""
        return networks.q_network(env, dueling=self.dueling, noisy=self.noisy, quantiles=self.quantiles)

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """`Adam(1e-3, epsilon=1e-5)`, without the clipping of `DQN`, for the loss is a sum over quantiles."""
        return keras.optimizers.Adam(1e-3, epsilon=1e-5)

    def distribution_loss(
        self, learned: tf.Tensor, following: tf.Tensor, data: Nest
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The quantile loss, and the means of both distributions, from quantiles `[N, quantiles]`."""
        target = self.target(data.reward[:, None], data.discount[:, None], following)
        self.check_target(learned, target)
        losses = quantile_loss(learned, tf.stop_gradient(target), self.now(self.huber_delta))
        return losses, tf.reduce_mean(learned, -1), tf.reduce_mean(target, -1)
