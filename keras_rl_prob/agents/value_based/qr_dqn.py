"""Deep Q-learning of the distribution of returns, by quantile regression."""

from typing import Any

import gymnasium
import keras
import tensorflow as tf

from keras_rl_prob import checks, networks
from keras_rl_prob.agents.value_based.dqn import DQN
from keras_rl_prob.envs.factory import EnvOrSpaces
from keras_rl_prob.networks.heads import check_discrete
from keras_rl_prob.ops.masking import masked_mean
from keras_rl_prob.ops.temporal_difference import quantile_loss
from keras_rl_prob.types import Loss, Nest


@keras.saving.register_keras_serializable("keras_rl_prob")
class QRDQN(DQN):
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

    def __init__(self, network: keras.Model | None = None, *, quantiles: int = 50, **kwargs: Any) -> None:
        super().__init__(network, **kwargs)
        self.quantiles = checks.integer("quantiles", quantiles)

    def default_network(self, env: EnvOrSpaces) -> keras.Model:
        """`krp.networks.q_network` with quantiles."""
        return networks.q_network(env, dueling=self.dueling, noisy=self.noisy, quantiles=self.quantiles)

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """`Adam(1e-3, epsilon=1e-5)`, without the clipping of `DQN`, for the loss is a sum over quantiles."""
        return keras.optimizers.Adam(1e-3, epsilon=1e-5)

    def check_network(
        self, network: keras.Model, observation_space: gymnasium.Space, action_space: gymnasium.Space
    ) -> None:
        """Checks in addition that the network has quantiles for each action."""
        super().check_network(network, observation_space, action_space)
        shape, actions = tuple(network.output["quantiles"].shape), check_discrete(action_space)
        if len(shape) != 3 or shape[1] is None or shape[2] != actions:
            raise ValueError(
                f'`network`\'s "quantiles" must have the shape [B, quantiles, {actions}], as from '
                f"`krp.networks.q_network(env, quantiles=50)`. Received: shape={shape}"
            )

    def loss_and_logs(self, data: Nest) -> Loss:
        """The loss for `keras_rl_prob.sources.replay.Transitions`, and a dict of scalars to be reported."""
        self.resample_noise(data.seed)
        quantiles = _of(self._outputs(self.network, data.observation)["quantiles"], data.action)  # [N, quantiles]
        following = self._outputs(self.target_network, data.next_observation)
        judge = self._outputs(self.network, data.next_observation) if self.double else following
        best = tf.argmax(judge["action"], -1, tf.int32)
        target = self.target(data.reward[:, None], data.discount[:, None], _of(following["quantiles"], best))
        self.check_target(quantiles, target)
        losses = quantile_loss(quantiles, tf.stop_gradient(target), self.huber_delta)
        self.keep_errors(data.index, losses)
        mask = data.weight > 0.0
        value, learned = tf.reduce_mean(quantiles, -1), tf.reduce_mean(target, -1)
        return masked_mean(data.weight * losses, mask), {
            "q_value": masked_mean(value, mask),
            "td_error": masked_mean(tf.abs(learned - value), mask),
        }

    def _outputs(self, network, observation):
        return network(self.normalize(observation), training=bool(self.noisy_layers))


def _of(quantiles, action):
    """The quantiles, float32 `[N, quantiles]`, of actions `[N]`."""
    return tf.cast(tf.gather(quantiles, action, axis=2, batch_dims=1), tf.float32)
