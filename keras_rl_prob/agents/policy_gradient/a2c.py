"""Synchronous advantage actor-critic."""

import keras
import tensorflow as tf

from keras_rl_prob.agents.policy_gradient.base import PolicyGradient
from keras_rl_prob.agents.policy_gradient.settings import ValueLoss
from keras_rl_prob.distributions import Joint
from keras_rl_prob.layers import Normalization
from keras_rl_prob.settings import Schedule
from keras_rl_prob.sources.on_policy import Minibatch
from keras_rl_prob.types import Loss


@keras.saving.register_keras_serializable("keras_rl_prob")
class A2C(PolicyGradient):
    """Advantage actor-critic: one gradient step on a short rollout of many environments.

    The loss is `-log pi(a) A`, plus `value_coef` times the squared error of the value, minus `entropy_coef` times the entropy,
    means over environment steps. With `gae_lambda=1` advantages are those of n-step returns up to the end of the rollout or of
    the episode; with less than 1 they are those of GAE. The network may have memory (`krp.networks.recurrent(env)`): its state
    is carried from rollout to rollout, the gradient flows through one rollout.

    `compile()` without an optimizer uses `RMSprop(7e-4, rho=0.99, epsilon=1e-5, global_clipnorm=0.5)`.

    Args:
        network: Functional model for one step: `{"action": nest of heads' outputs, "value": [B, 1]}`. `None` makes
            `krp.networks.feed_forward(env)`.
        rollout_steps: Rows collected from each environment before an update.
        discount: Gamma. Like other coefficients, a float or a Keras schedule over gradient steps.
        gae_lambda: Lambda of the advantages and of the value targets.
        value_coef: Weight of the value loss; a `ValueLoss` also sets its targets and its form.
        entropy_coef: Weight of the entropy bonus.
        normalize_advantages: Whether advantages have mean 0 and standard deviation 1 in each rollout.
        normalize_observations: Whether observations are normalised by running statistics. For this and rewards, a
            `Normalization` sets the clip value.
        normalize_rewards: Whether rewards are divided by the running standard deviation of the discounted return.
        name: Name of the model.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Mnih et al., "Asynchronous methods for deep reinforcement learning", 2016, https://arxiv.org/abs/1602.01783:
        A3C with synchronous environments instead of threads.

    Example:
    ```python
    agent = krp.A2C()
    agent.compile()
    agent.fit("CartPole-v1", epochs=10)
    ```
    """

    rollouts_per_epoch = 200

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        rollout_steps: int = 5,
        discount: float | Schedule = 0.99,
        gae_lambda: float | Schedule = 1.0,
        value_coef: float | Schedule | ValueLoss = 0.5,
        entropy_coef: float | Schedule = 0.01,
        normalize_advantages: bool = False,
        normalize_observations: bool | Normalization = False,
        normalize_rewards: bool | Normalization = True,
        name: str | None = None,
    ) -> None:
        super().__init__(
            network,
            rollout_steps=rollout_steps,
            discount=discount,
            gae_lambda=gae_lambda,
            value_coef=value_coef,
            entropy_coef=entropy_coef,
            normalize_advantages=normalize_advantages,
            normalize_observations=normalize_observations,
            normalize_rewards=normalize_rewards,
            name=name,
        )

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """`RMSprop`, as in the paper."""
        return keras.optimizers.RMSprop(7e-4, rho=0.99, epsilon=1e-5, global_clipnorm=0.5)

    def policy_loss(self, policy: Joint, log_prob: tf.Tensor, advantage: tf.Tensor, data: Minibatch) -> Loss:
        """`-log pi(a) A`."""
        return -log_prob * advantage, {}
