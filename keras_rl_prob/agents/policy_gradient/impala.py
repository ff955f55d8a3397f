"""Importance-weighted actor-learner: learning from what an older policy did."""

import keras
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.agents.policy_gradient.base import PolicyGradient
from keras_rl_prob.agents.policy_gradient.settings import ValueLoss, VTrace
from keras_rl_prob.distributions import Joint
from keras_rl_prob.drivers import Rollout
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.layers import Normalization
from keras_rl_prob.ops.losses import clipped_surrogate
from keras_rl_prob.ops.masking import masked_mean
from keras_rl_prob.ops.off_policy import vtrace
from keras_rl_prob.settings import Schedule
from keras_rl_prob.sources import LaggedSource, RolloutSource
from keras_rl_prob.sources.on_policy import Minibatch
from keras_rl_prob.types import Loss


@keras.saving.register_keras_serializable("keras_rl_prob")
class IMPALA(PolicyGradient):
    """IMPALA: an actor-critic whose rollouts may come from an older policy, which V-trace corrects for.

    Each rollout is used for one gradient step. With the probability ratio `r = pi(a) / mu(a)` between the current policy and
    the one that acted, the loss is

        loss = -min(clip_pg_rho, r) log pi(a) (R + gamma v' - V) + value_coef (v - V)^2 - entropy_coef H,

    the mean over environment steps, where `v` is the V-trace target of a value, `v'` that of the next row, and no gradient
    flows through the ratio and the advantage (`keras_rl_prob.ops.off_policy.vtrace`). If both policies are the same, `v` is an
    n-step return, and the algorithm is A2C. With `clip_ratio` the first term is PPO's clipped surrogate: APPO.

    A version of the policy is a gradient step. With `lag` rollouts are that many versions old when they are used, as they would
    be with collectors in other processes; this shows the effect of the correction.

    Args:
        network: Functional model for one step: `{"action": nest of heads' outputs, "value": [B, 1]}`, with or without memory.
            `None` makes `krp.networks.feed_forward(env)`.
        rollout_steps: Rows collected from each environment for a gradient step.
        discount: Gamma. Like other coefficients, a float or a Keras schedule over gradient steps.
        vtrace: A `VTrace` with the truncation levels of the importance weights; `None` for no correction.
        clip_ratio: Epsilon of the clipped surrogate, a float or a Keras schedule over gradient steps, or `None`.
        lag: Number of rollouts that are held back.
        value_coef: Weight of the value loss; a `ValueLoss` also sets its targets and its form.
        entropy_coef: Weight of the entropy bonus.
        normalize_advantages: Whether advantages have mean 0 and standard deviation 1 in each rollout.
        normalize_observations: Whether observations are normalised by running statistics. For this and rewards, a
            `Normalization` sets the clip value.
        normalize_rewards: Whether rewards are divided by the running standard deviation of the discounted return.
        previous_action_and_reward: Whether the network also sees the action and the reward before each observation, see
            `krp.envs.with_previous_step`.
        name: Name of the model.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Espeholt et al., "IMPALA: scalable distributed deep-RL with importance weighted actor-learner architectures", 2018,
        https://arxiv.org/abs/1802.01561; APPO: https://arxiv.org/abs/1912.00167.

    Example:
    ```python
    agent = krp.IMPALA()
    agent.compile()
    agent.fit("CartPole-v1", epochs=10)
    ```
    """

    rollouts_per_epoch = 100
    collecting = "asynchronous"

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        rollout_steps: int = 20,
        discount: float | Schedule = 0.99,
        vtrace: VTrace | None = VTrace(),  # noqa: B008 (immutable)
        clip_ratio: float | Schedule | None = None,
        lag: int = 0,
        value_coef: float | Schedule | ValueLoss = 0.5,
        entropy_coef: float | Schedule = 0.01,
        normalize_advantages: bool = False,
        normalize_observations: bool | Normalization = False,
        normalize_rewards: bool | Normalization = True,
        previous_action_and_reward: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(
            network,
            rollout_steps=rollout_steps,
            discount=discount,
            gae_lambda=1.0,
            value_coef=value_coef,
            entropy_coef=entropy_coef,
            normalize_advantages=normalize_advantages,
            normalize_observations=normalize_observations,
            normalize_rewards=normalize_rewards,
            name=name,
        )
        if self.value_settings.target != "lambda":
            raise ValueError(
                f"`value_coef` must leave the target of the values to V-trace. Received: value_coef={value_coef!r}"
            )
        self.vtrace = checks.instance("vtrace", vtrace, (VTrace,))
        self.clip_ratio = checks.number("clip_ratio", clip_ratio, above=0.0, none=True, schedule=True)
        self.lag = checks.integer("lag", lag, least=0)
        self.previous_action_and_reward = checks.flag("previous_action_and_reward", previous_action_and_reward)

    def metric_names(self) -> list[str]:
        """Names of the metrics besides `return` and `length`."""
        return [*super().metric_names(), "importance_weight"]

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """`Adam(6e-4, epsilon=1e-5, global_clipnorm=0.5)`."""
        return keras.optimizers.Adam(6e-4, epsilon=1e-5, global_clipnorm=0.5)

    def make_source(self, env: BatchEnv, seed: int) -> RolloutSource:
        """Rollouts of `env`, `lag` versions old."""
        if not self.lag:
            return super().make_source(env, seed)
        return LaggedSource(self, env, self.resolved_sequence_length(env.num_envs), seed, lag=self.lag)

    def advantages(self, rollout: Rollout, reward: tf.Tensor, next_value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """V-trace advantages and targets, with values and probabilities of the current network."""
        first = tf.nest.map_structure(lambda x: x[0], rollout.state)
        outputs, _ = self._unrolled(rollout.observation, rollout.is_first, first, training=bool(self.noisy_layers))
        value, raw = self._values(outputs, rollout.valid), rollout.record["raw"]
        following = tf.concat([value[1:], next_value[-1:]], 0)
        if not isinstance(rollout.final_value, tuple):  # final observations have no rows of their own
            following = tf.where(rollout.ended, next_value, following)
        ratio = self.distribution(outputs["action"]).log_prob(raw) - rollout.record["log_prob"]
        numbers = self.vtrace
        if numbers is None:
            numbers, ratio = VTrace(), tf.zeros_like(ratio)
        discount, continues = self.now(self.discount) * rollout.discount, 1.0 - tf.cast(rollout.ended, tf.float32)
        target, _ = vtrace(
            ratio, reward, discount, value, following, continues,
            self.now(numbers.lambda_), self.now(numbers.clip_rho), self.now(numbers.clip_c), valid=rollout.valid,
        )  # fmt: skip
        after = tf.where(continues > 0.0, tf.concat([target[1:], following[-1:]], 0), following)
        return reward + discount * after - value, target

    def policy_loss(self, policy: Joint, log_prob: tf.Tensor, advantage: tf.Tensor, data: Minibatch) -> Loss:
        """`-min(clip_pg_rho, r) log pi(a) A`, or the clipped surrogate."""
        log_ratio = log_prob - data.log_prob
        weight = tf.stop_gradient(tf.exp(log_ratio))
        logs = {"importance_weight": masked_mean(weight, data.valid)}
        if self.clip_ratio is not None:
            return -clipped_surrogate(log_ratio, advantage, self.now(self.clip_ratio)), logs
        weight = tf.minimum(weight, self.now(self.vtrace.clip_pg_rho)) if self.vtrace else 1.0
        return -weight * log_prob * advantage, logs
