"""REINFORCE: the policy gradient of whole episodes."""

import keras
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.agents.policy_gradient.base import PolicyGradient
from keras_rl_prob.agents.policy_gradient.settings import ValueLoss
from keras_rl_prob.distributions import Joint
from keras_rl_prob.drivers import EpisodeDriver
from keras_rl_prob.layers import Normalization
from keras_rl_prob.settings import Schedule
from keras_rl_prob.sources.on_policy import Minibatch
from keras_rl_prob.types import Loss


@keras.saving.register_keras_serializable("keras_rl_prob")
class Reinforce(PolicyGradient):
    """REINFORCE (Williams 1992): one gradient step on one whole episode of every environment.

    The loss is `-log pi(a_t) G_t`, the mean over the steps of the episodes, where `G_t` is the discounted return from step
    `t` on, normalised to mean 0 and standard deviation 1 over all steps. With `baseline` a learned value of the observation is
    subtracted from the return first, and a truncated episode bootstraps from the value of its final observation. Without, a
    truncation counts as a termination.

    All environments start an episode together; steps after the first episode of an environment do not count. An update thus
    has `num_envs` episodes.

    Args:
        network: Functional model for one step: `{"action": nest of heads' outputs}`, and `"value": [B, 1]` with a baseline.
            `None` makes `krp.networks.feed_forward(env)`.
        max_episode_steps: Steps after which an episode is truncated.
        baseline: Whether to subtract a learned value.
        discount: Gamma. Like other coefficients, a float or a Keras schedule over gradient steps.
        value_coef: Weight of the value loss; a `ValueLoss` also sets its targets and its form.
        entropy_coef: Weight of the entropy bonus.
        normalize_returns: Whether returns, or advantages, have mean 0 and standard deviation 1 in each update.
        normalize_observations: Whether observations are normalised by running statistics. For this and rewards, a
            `Normalization` sets the clip value.
        normalize_rewards: Whether rewards are divided by the running standard deviation of the discounted return.
        name: Name of the model.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", 1992. Sutton and
        Barto, 2018, sections 13.3 and 13.4.

    Example:
    ```python
    agent = krp.Reinforce(baseline=True)
    agent.compile(keras.optimizers.Adam(1e-2))
    agent.fit("CartPole-v1", epochs=5)
    ```
    """

    driver_class = EpisodeDriver

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        max_episode_steps: int = 500,
        baseline: bool = False,
        discount: float | Schedule = 0.99,
        value_coef: float | Schedule | ValueLoss = 0.5,
        entropy_coef: float | Schedule = 0.0,
        normalize_returns: bool = True,
        normalize_observations: bool | Normalization = False,
        normalize_rewards: bool | Normalization = False,
        name: str | None = None,
    ) -> None:
        super().__init__(
            network,
            rollout_steps=checks.integer("max_episode_steps", max_episode_steps),
            discount=discount,
            gae_lambda=1.0,
            value_coef=value_coef,
            entropy_coef=entropy_coef,
            normalize_advantages=checks.flag("normalize_returns", normalize_returns),
            normalize_observations=normalize_observations,
            normalize_rewards=normalize_rewards,
            name=name,
        )
        self.baseline = checks.flag("baseline", baseline)
        self.network_outputs = ("action", "value") if baseline else ("action",)

    @property
    def max_episode_steps(self) -> int:
        """Steps after which an episode is truncated."""
        return self.rollout_steps

    @property
    def normalize_returns(self) -> bool:
        """Whether returns have mean 0 and standard deviation 1 in each rollout."""
        return self.normalize_advantages

    def policy_loss(self, policy: Joint, log_prob: tf.Tensor, advantage: tf.Tensor, data: Minibatch) -> Loss:
        """`-log pi(a) G`."""
        return -log_prob * advantage, {}
