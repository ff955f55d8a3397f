"""Actor-critic with experience replay."""

import math
from typing import Any

import gymnasium
import keras
import tensorflow as tf

from keras_rl_prob import checks, networks
from keras_rl_prob.agents.agent import Agent
from keras_rl_prob.agents.network_checks import reject_q_values
from keras_rl_prob.distributions import JointActions
from keras_rl_prob.envs.factory import BatchEnv, EnvOrSpaces
from keras_rl_prob.layers import Normalization, Unrolled
from keras_rl_prob.layers.head import MASKED_LOGIT
from keras_rl_prob.learning.targets import follow, target_of
from keras_rl_prob.networks.weights import take_weights
from keras_rl_prob.ops.masking import masked_mean
from keras_rl_prob.ops.off_policy import acer_policy_gradient, retrace, trust_region
from keras_rl_prob.ops.temporal_difference import chosen
from keras_rl_prob.replay.frames import frames_of
from keras_rl_prob.replay.settings import RolloutReplaySettings
from keras_rl_prob.settings import Schedule
from keras_rl_prob.sources import RolloutSource
from keras_rl_prob.sources.past_rollouts import PastRollouts, PastRolloutsSource
from keras_rl_prob.types import Loss, Nest


@keras.saving.register_keras_serializable("keras_rl_prob")
class ACER(Agent):
    """ACER: an actor-critic with action values that also learns from the rollouts of older policies.

    A new rollout is used for one gradient step; then a number of batches of old rollouts follows, sampled from a Poisson
    distribution. The critic outputs a value `Q` for each action, so `V = sum_b pi(b) Q(b)`. With the current policy `pi`, the
    behaviour policy `mu`, their ratio `rho = pi / mu`, and a running average `pi'` of the policy,

        G    = r + gamma (V' + lambda min(1, rho') (G' - Q'))               Retrace target; here a prime means the next row
        g    = min(clip_rho, rho) (G - V) d log pi(a)
               + sum_b pi(b) max(0, 1 - clip_rho / rho(b)) (Q(b) - V) d log pi(b)    with bias correction
        z    = g - max(0, (k . g - trust_region) / ||k||^2) k,   k = d KL(pi' || pi)  trust region
        loss = -z . logits + value_coef (Q(a) - G)^2 / 2 - entropy_coef H

    is the mean over environment steps; no gradient flows through `G` and `z` (`keras_rl_prob.ops.off_policy`). `g`, `k` and
    `z` are gradients with respect to the logits of all actions, `k = pi - pi'`; the paper's, with respect to the probabilities,
    never limit an increase. Masked actions have probability 0 in all three policies and so do not count in any sum. For a
    MultiDiscrete space every combination is an action.

    A bot (`krp.imitation.Bots`) takes its action with probability 1, `mu(a) = 1`: then `rho = pi(a)`, the target is that of
    Tree-backup, and the correction has all other actions, with their `Q`. So nobody needs to know how a script decides.

    Keras counts `1 + ratio` steps for each rollout, whatever number was sampled.

    Args:
        network: Functional model for one step: `{"action": DenseCategorical(...)(x), "q": [B, actions]}`, with or without
            memory. `None` makes `krp.networks.actor_critic(env, critic="q")`.
        rollout_steps: Rows collected from each environment for a rollout.
        replay: A `RolloutReplaySettings`: capacity and replay ratio.
        discount: Gamma.
        retrace_lambda: Lambda of the targets: 0 for one step, 1 for up to the end of the rollout.
        clip_rho: Largest importance weight in the policy gradient; the correction accounts for the rest. `math.inf` for no
            truncation.
        trust_region: Largest rate at which a gradient step may increase the KL divergence from the average policy; `None` for
            no trust region.
        average_decay: Decay of the average policy: its share that remains after each gradient step.
        value_coef: Weight of the value loss.
        entropy_coef: Weight of the entropy bonus. A float or a Keras schedule over gradient steps.
        normalize_observations: Whether observations are normalised by running statistics; old rollouts by the current ones.
        normalize_rewards: Whether rewards are divided by the running standard deviation of the discounted return, likewise.
        previous_action_and_reward: Whether the network also sees the action and the reward before each observation, see
            `krp.envs.with_previous_step`.
        name: Name of the model.

    Raises:
        ValueError: An argument is out of its range, or does not fit the network or the environment.

    References:
        Wang et al., "Sample efficient actor-critic with experience replay", 2016, https://arxiv.org/abs/1611.01224.

    Example:
    ```python
    agent = krp.ACER()
    agent.compile()
    agent.fit("CartPole-v1", epochs=10)
    ```
    """

    network_outputs = ("action", "q")
    rollouts_per_epoch = 100
    collecting = "asynchronous"
    default_num_envs = 16
    _joint: JointActions

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        rollout_steps: int = 20,
        replay: RolloutReplaySettings = RolloutReplaySettings(),  # noqa: B008 (immutable)
        discount: float | Schedule = 0.99,
        retrace_lambda: float = 1.0,
        clip_rho: float = 10.0,
        trust_region: float | None = 1.0,
        average_decay: float = 0.99,
        value_coef: float | Schedule = 0.5,
        entropy_coef: float | Schedule = 0.01,
        normalize_observations: bool | Normalization = False,
        normalize_rewards: bool | Normalization = True,
        previous_action_and_reward: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(network, normalize_observations=normalize_observations, name=name)
        self.rollout_steps = checks.integer("rollout_steps", rollout_steps)
        self.replay = checks.instance("replay", replay, (RolloutReplaySettings,), none=False)
        self.discount = checks.number("discount", discount, most=1.0, schedule=True)
        self.retrace_lambda = checks.fraction("retrace_lambda", retrace_lambda)
        self.clip_rho = clip_rho if clip_rho == math.inf else checks.number("clip_rho", clip_rho, above=0.0)
        self.trust_region = checks.number("trust_region", trust_region, none=True)
        self.average_decay = checks.fraction("average_decay", average_decay)
        self.value_coef = checks.number("value_coef", value_coef, schedule=True)
        self.entropy_coef = checks.number("entropy_coef", entropy_coef, schedule=True)
        self.normalize_rewards = Normalization.argument("normalize_rewards", normalize_rewards)
        self.previous_action_and_reward = checks.flag("previous_action_and_reward", previous_action_and_reward)
        self._check_capacity(1)

    def _check_capacity(self, num_envs):
        rows, replay = self.rollout_steps * num_envs, self.replay
        if replay.capacity // rows * rows < max(1, replay.learning_starts):
            raise ValueError(
                "`capacity` must hold a rollout, rollout_steps * num_envs rows, and `learning_starts` rows in whole rollouts. "
                f"Received: capacity={replay.capacity}, rollout_steps={self.rollout_steps}, num_envs={num_envs}, "
                f"learning_starts={replay.learning_starts}"
            )

    def default_network(self, env: EnvOrSpaces) -> keras.Model:
        """`krp.networks.actor_critic` with the value of each action."""
        return networks.actor_critic(env, critic="q")

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """`Adam(7e-4, epsilon=1e-5, global_clipnorm=10)`."""
        return keras.optimizers.Adam(7e-4, epsilon=1e-5, global_clipnorm=10.0)

    def check_network(
        self, network: keras.Model, observation_space: gymnasium.Space, action_space: gymnasium.Space
    ) -> None:
        """Checks in addition that the actions can be enumerated and that the network outputs a policy and a value of each."""
        count = JointActions(action_space).count
        super().check_network(network, observation_space, action_space)
        reject_q_values(network, type(self).__name__)
        if self.replay.frame_axis is not None:
            frames_of(observation_space, self.replay.frame_axis)
        if tuple(network.output["q"].shape[1:]) != (count,):
            raise ValueError(
                f'`network`\'s "q" must be a value for each of the {count} actions of {action_space}, as from '
                f"`keras.layers.Dense({count})`. Received: shape={tuple(network.output['q'].shape)}"
            )

    def build(self, env: EnvOrSpaces) -> None:
        """Creates the average policy and the reward statistics besides what every agent has."""
        super().build(env)
        self._joint = JointActions(self.action_space)
        self.reward_normalizer = Normalization.layer(self.normalize_rewards, center=False)
        self.reward_normalizer.build((None,))
        if self.trust_region is not None:
            self.average_network = target_of(self.network)
            self._average_unrolled = Unrolled(self.average_network)

    def metric_names(self) -> list[str]:
        """Names of the metrics besides `return` and `length`."""
        kl = [] if self.trust_region is None else ["kl"]
        return ["loss", "policy_loss", "value_loss", "entropy", *kl, "importance_weight", "replay_size"]

    # ---- from rollouts to gradient steps ----------------------------------------------------------------------

    def act(
        self, observation: Nest, is_first: tf.Tensor, state: Nest, seed: tf.Tensor, deterministic: bool = False
    ) -> tuple[Nest, Nest, Nest]:
        """One step of the policy, see `policy_step`."""
        action, record, _, state = self.policy_step(observation, is_first, state, seed, deterministic)
        return action, record, state

    def record_of_others(self, raw: tf.Tensor) -> dict[str, tf.Tensor]:
        """The actions, int32 `[B, ...]`, and the policy that takes them with probability 1, logits `[B, ..., classes]`."""
        classes = self.network.output["action"].shape[-1]
        return {"raw": raw, "parameters": tf.one_hot(raw, classes, 0.0, MASKED_LOGIT)}

    def final_value(self, observation: Nest, state: Nest) -> Nest:
        """The observation itself, whose value changes until it is replayed."""
        return observation

    def updates_per_rollout(self, num_envs: int) -> int:
        """`1 + ratio`; a `ValueError` if the replay buffer is too small for a rollout."""
        self._check_capacity(num_envs)
        return 1 + self.replay.ratio

    def make_source(self, env: BatchEnv, seed: int) -> RolloutSource:
        """Rollouts of `env`, each followed by batches of old ones."""
        return PastRolloutsSource(self, env, seed, self.replay)

    def begin_training(self) -> None:
        """Copies the policy to the average policy."""
        if self.trust_region is not None:
            take_weights(self.average_network, self.network)

    # ---- learning ---------------------------------------------------------------------------------------------

    def targets(self, data: PastRollouts, pi: tf.Tensor, ratio: tf.Tensor, q: tf.Tensor) -> tf.Tensor:
        """Retrace (eq. 5 of the paper), float32 `[T, N]`.

        Args:
            data: The rollouts.
            pi: float32 `[T + 1, N, A]`; probability of each action under the current policy.
            ratio: float32 `[T, N]`; probability ratio of the row's action, current to behaviour policy.
            q: float32 `[T + 1, N, A]`; value of each action.
        """
        action, value = self._joint.index(data.raw), tf.reduce_sum(pi * q, -1)
        return retrace(
            data.reward[:-1],
            self.now(self.discount) * data.discount[:-1],
            chosen(q, action)[:-1],
            value[1:],
            1.0 - tf.cast(data.ended[:-1], tf.float32),
            self.now(self.retrace_lambda) * tf.minimum(1.0, ratio),
            data.valid[:-1],
        )

    def average_log_probabilities(self, data: PastRollouts) -> tf.Tensor:
        """Log-probabilities of all actions under the average policy, float32 `[T, N, A]`."""
        outputs, _ = self._average_unrolled(self.normalize(data.observation), data.is_first, data.state)
        return self._joint.log_probabilities(outputs["action"])[:-1]

    def loss_and_logs(self, data: PastRollouts) -> Loss:
        """The loss for `PastRollouts`, and a dict of scalars to log."""
        noisy, observation = bool(self.noisy_layers), self.normalize(data.observation)
        outputs, _ = self._unrolled(observation, data.is_first, data.state, training=noisy)
        log_pis, qs = self._joint.log_probabilities(outputs["action"]), tf.cast(outputs["q"], tf.float32)
        log_pi, q, valid, action = log_pis[:-1], qs[:-1], data.valid[:-1], self._joint.index(data.raw)[:-1]
        log_mu, pi = self._joint.log_probabilities(data.parameters)[:-1], tf.exp(log_pi)
        ratio = tf.exp(chosen(log_pi - log_mu, action))
        target = tf.stop_gradient(self.targets(data, tf.exp(log_pis), ratio, qs))
        gradient = acer_policy_gradient(pi, tf.exp(log_mu), action, target, q, self.now(self.clip_rho))  # eq. 9
        gradient = pi * (gradient - tf.reduce_sum(pi * gradient, -1, keepdims=True))  # with respect to the logits
        logs: dict[str, Any] = {"importance_weight": masked_mean(ratio, valid)}
        if self.trust_region is not None:
            log_average = self.average_log_probabilities(data)
            average = tf.exp(log_average)
            gradient = trust_region(gradient, pi - average, self.now(self.trust_region))  # eq. 12
            logs["kl"] = masked_mean(tf.reduce_sum(average * (log_average - log_pi), -1), valid)
        policy_loss = -masked_mean(tf.reduce_sum(tf.stop_gradient(gradient) * log_pi, -1), valid)
        value_loss = masked_mean(0.5 * tf.math.squared_difference(chosen(q, action), target), valid)
        entropy = masked_mean(-tf.reduce_sum(pi * log_pi, -1), valid)
        loss = policy_loss + self.now(self.value_coef) * value_loss
        loss -= self.now(self.entropy_coef) * entropy
        return loss, {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy, **logs}

    def after_update(self, data: PastRollouts) -> None:
        """Updates the average policy."""
        if self.trust_region is not None:
            follow(self.average_network, self.network, 1.0 - self.now(self.average_decay))
