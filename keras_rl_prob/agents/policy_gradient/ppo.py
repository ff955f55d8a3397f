"""Proximal policy optimisation, feed-forward and recurrent."""

from typing import ClassVar

import keras
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.agents.policy_gradient.base import PolicyGradient
from keras_rl_prob.agents.policy_gradient.kl_penalty import KLPenalty
from keras_rl_prob.agents.policy_gradient.settings import Clipping, Minibatches, ValueLoss
from keras_rl_prob.agents.vocabulary import accepts_moved
from keras_rl_prob.distributions import Joint
from keras_rl_prob.envs.factory import EnvOrSpaces
from keras_rl_prob.layers import Normalization
from keras_rl_prob.ops.losses import clipped_surrogate, clipped_value_loss
from keras_rl_prob.ops.masking import masked_mean
from keras_rl_prob.settings import Schedule
from keras_rl_prob.sources.on_policy import Minibatch
from keras_rl_prob.types import Loss, Nest


@keras.saving.register_keras_serializable("keras_rl_prob")
class PPO(PolicyGradient):
    """Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347) with GAE(lambda).

    A rollout of `rollout_steps` rows from every environment is cut into sequences. In each of `update_epochs` passes these are
    shuffled and divided into `minibatches`, each for one gradient step (one Keras step). With the probability ratio
    `r = pi(a) / pi_old(a)` and the advantage `A`, the loss is

        -min(r A, clip(r, 1 - epsilon, 1 + epsilon) A) + value_coef (v - V)^2 - entropy_coef H,

    plus the `kl_penalty` and the network's regularisation losses; all are means over environment steps. An episode truncated by
    a time limit bootstraps from the value of its final observation. Layers run in inference mode: dropout would make the policy
    that is updated another one than the policy that acted.

    Args:
        network: Functional model for one step: `{"action": nest of heads' outputs, "value": [B, 1]}`. `None` makes
            `krp.networks.feed_forward(env)`.
        rollout_steps: Rows collected from each environment before the updates.
        minibatches: Gradient steps in one pass over a rollout; a `Minibatches` also sets the length of the sequences, and when
            to stop early.
        update_epochs: Passes over a rollout.
        discount: Gamma. Like other coefficients, a float or a Keras schedule over gradient steps.
        gae_lambda: Lambda of the advantages and of the value targets.
        clip_ratio: Epsilon of the clipped surrogate, or `None` for no clipping. A float or a Keras schedule over gradient
            steps; a `Clipping` can clip the value too.
        value_coef: Weight of the value loss; a `ValueLoss` also sets its targets and its form.
        entropy_coef: Weight of the entropy bonus.
        normalize_advantages: Whether advantages have mean 0 and standard deviation 1 in each minibatch.
        normalize_observations: Whether observations are normalised by running statistics. For this and rewards, a
            `Normalization` sets the clip value.
        normalize_rewards: Whether rewards are divided by the running standard deviation of the discounted return.
        kl_penalty: A `KLPenalty`, or `None`.
        name: Name of the model.

    Raises:
        ValueError: An argument is out of its range.

    Example:
    ```python
    agent = krp.PPO(entropy_coef=0.0)
    agent.compile(keras.optimizers.Adam(1e-3, epsilon=1e-5, global_clipnorm=0.5))
    agent.fit("CartPole-v1", epochs=5)
    ```
    """

    settings_classes: ClassVar = {"minibatches": Minibatches, "clip_ratio": Clipping}

    @accepts_moved
    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        rollout_steps: int = 128,
        minibatches: int | Minibatches = 4,
        update_epochs: int = 4,
        discount: float | Schedule = 0.99,
        gae_lambda: float | Schedule = 0.95,
        clip_ratio: float | Schedule | Clipping | None = 0.2,
        value_coef: float | Schedule | ValueLoss = 0.5,
        entropy_coef: float | Schedule = 0.01,
        normalize_advantages: bool = True,
        normalize_observations: bool | Normalization = False,
        normalize_rewards: bool | Normalization = True,
        kl_penalty: KLPenalty | None = None,
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
        if not isinstance(minibatches, Minibatches):
            minibatches = checks.integer("minibatches", minibatches)
        self.minibatches, self.update_epochs = minibatches, checks.integer("update_epochs", update_epochs)
        if not isinstance(clip_ratio, Clipping):
            clip_ratio = checks.number("clip_ratio", clip_ratio, above=0.0, none=True, schedule=True)
        self.clip_ratio = clip_ratio
        self.kl_penalty = checks.instance("kl_penalty", kl_penalty, (KLPenalty,))
        self.check_sequences()

    @property
    def clipping(self) -> Clipping:
        """`clip_ratio` as a `Clipping`."""
        return Clipping.of(self.clip_ratio)

    def build(self, env: EnvOrSpaces) -> None:
        """Creates the weight of the KL penalty besides what every policy-gradient agent has."""
        super().build(env)
        initial_beta = self.kl_penalty.initial_beta if self.kl_penalty else 0.0
        self.kl_beta = self.add_number("kl_beta", initializer=keras.initializers.Constant(initial_beta))
        self._epoch_kl = self.add_number("epoch_kl")
        self._stopped = self.add_number("stopped", dtype="bool")

    def metric_names(self) -> list[str]:
        """Names of the metrics besides `return` and `length`."""
        by_sequence = ["kl_max"] if self.dealing.kl_by_sequence else []
        by_sequence += ["kl_left_out"] if by_sequence and self.dealing.target_kl is not None else []
        penalty = ["kl_penalty", "kl_cutoff"] if self.kl_penalty else []
        return [*super().metric_names(), "kl", "clip_fraction", *self.names_for_heads("kl"), *by_sequence, *penalty]

    # ---- learning ---------------------------------------------------------------------------------------------

    def policy_loss(self, policy: Joint, log_prob: tf.Tensor, advantage: tf.Tensor, data: Minibatch) -> Loss:
        """The clipped surrogate."""
        old, bound = data.log_prob, self.now(self.clipping.log_prob_clip)
        if bound is not None:
            log_prob, old = (tf.clip_by_value(x, -bound, bound) for x in (log_prob, old))
        log_ratio, clip_ratio = log_prob - old, self.now(self.clipping.clip_ratio)
        kls = [masked_mean(kl, data.valid) for kl in self.distribution(data.parameters).kl_divergences(policy)]
        clipped = 0.0 if clip_ratio is None else tf.cast(tf.abs(tf.exp(log_ratio) - 1.0) > clip_ratio, tf.float32)
        return -clipped_surrogate(log_ratio, advantage, clip_ratio), {
            "kl": tf.add_n(kls),
            "clip_fraction": masked_mean(clipped * tf.ones_like(log_ratio), data.valid),
            **dict(zip(self.names_for_heads("kl"), kls, strict=False)),
        }

    def value_error(self, value: tf.Tensor, data: Minibatch) -> tf.Tensor:
        """Error of the value, clipped if `value_clip` is given, float32 `[L, R]`."""
        clip, delta = self.now(self.clipping.value_clip), self.now(self.value_settings.huber_delta)
        return clipped_value_loss(value, data.value, data.target, clip, delta)

    def loss_weight(self, policy: Joint, data: Minibatch) -> tuple[tf.Tensor | None, dict[str, tf.Tensor]]:
        """Weights of the rows; 0 in sequences whose KL divergence exceeds `target_kl`, with `kl_by_sequence`."""
        weight, logs = super().loss_weight(policy, data)
        if not self.dealing.kl_by_sequence:
            return weight, logs
        kl = self.sequence_kls(policy, data)
        logs = {**logs, "kl_max": tf.reduce_max(kl)}
        if self.dealing.target_kl is None:
            return weight, logs
        learns = tf.cast(kl <= 1.5 * self.dealing.target_kl, tf.float32)  # [R]
        logs["kl_left_out"] = 1.0 - tf.reduce_mean(learns)
        return (tf.ones_like(data.valid) if weight is None else weight) * learns, logs

    def sequence_kls(self, policy: Joint, data: Minibatch) -> tf.Tensor:
        """KL(old || new) of each sequence of a `Minibatch`, the mean over its steps, float32 `[R]`."""
        kl = tf.add_n(self.distribution(data.parameters).kl_divergences(policy))
        steps = tf.reduce_sum(data.valid, 0)
        return tf.math.divide_no_nan(tf.reduce_sum(tf.where(data.valid > 0.0, kl, tf.zeros_like(kl)), 0), steps)

    def loss_and_logs(self, data: Nest) -> Loss:
        """The loss for a `Minibatch`, and a dict of its terms, scalars."""
        loss, logs = super().loss_and_logs(data)
        if self.kl_penalty is None:
            return loss, logs
        penalty, cutoff = self.kl_penalty.terms(logs["kl"], self.kl_beta)
        return loss + (penalty + cutoff), {**logs, "kl_penalty": penalty, "kl_cutoff": cutoff}

    def allows_update(self, data: Nest, logs: dict[str, tf.Tensor]) -> tf.Tensor:
        """False after the KL divergence has exceeded `target_kl` on this rollout; adapts the KL penalty."""
        self._follow_kl(data.index, logs["kl"])
        return ~self._stopped

    def _follow_kl(self, index, kl):
        """Stops the updates on this rollout at `target_kl`; adapts beta after the last of them."""
        count, target_kl = self.dealing.count, self.dealing.target_kl
        if target_kl is not None and not self.dealing.kl_by_sequence:
            self._stopped.assign((self._stopped & (index > 0)) | (kl > 1.5 * target_kl))
        if self.kl_penalty is not None:
            last_epoch = count * (self.update_epochs - 1)
            self._epoch_kl.assign(tf.where(index <= last_epoch, 0.0, self._epoch_kl) + kl / count)
            adapted = self.kl_penalty.adapted(self.kl_beta, self._epoch_kl)
            done = tf.equal(index, count * self.update_epochs - 1)
            self.kl_beta.assign(tf.where(done, adapted, self.kl_beta))
