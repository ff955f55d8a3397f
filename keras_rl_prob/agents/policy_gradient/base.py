"""What policy-gradient agents share: a stochastic policy, a value, advantages, minibatches."""

import functools
from typing import Any

import gymnasium
import keras
import tensorflow as tf

from keras_rl_prob import checks, networks, spaces
from keras_rl_prob.agents.agent import Agent
from keras_rl_prob.agents.network_checks import has_memory, reject_q_values
from keras_rl_prob.agents.policy_gradient.settings import Minibatches, ValueLoss
from keras_rl_prob.distributions import Joint
from keras_rl_prob.drivers import Driver, Rollout
from keras_rl_prob.envs.factory import BatchEnv, EnvOrSpaces
from keras_rl_prob.layers import Normalization
from keras_rl_prob.learning.parts import check_shape
from keras_rl_prob.ops.losses import clipped_value_loss
from keras_rl_prob.ops.masking import masked_mean, masked_normalize
from keras_rl_prob.ops.returns import discounted_returns, gae
from keras_rl_prob.settings import Schedule
from keras_rl_prob.sources import RolloutSource
from keras_rl_prob.sources.on_policy import Minibatch, OnPolicySource, Preparation
from keras_rl_prob.types import Loss, Nest


class PolicyGradient(Agent):
    """Base class of on-policy agents.

    A subclass defines `policy_loss`. Advantages are computed once, before the updates on a rollout.

    Args:
        network: Functional model for one step: `{"action": nest of heads' outputs, "value": [B, 1]}`, or `None`. With
            `NoisyDense` layers it explores by their noise too, which is drawn for each rollout and kept for its updates.
        rollout_steps: Rows collected from each environment before the updates.
        discount: Gamma. This and the next three are floats or Keras schedules over gradient steps.
        gae_lambda: Lambda of the advantages and of the value targets.
        value_coef: Weight of the value loss; a `ValueLoss` also sets its targets and its form.
        entropy_coef: Weight of the entropy bonus.
        normalize_advantages: Whether advantages have mean 0 and standard deviation 1 in each minibatch.
        normalize_observations: Whether observations are normalised by running statistics. For this and rewards, a
            `Normalization` sets the clip value.
        normalize_rewards: Whether rewards are divided by the running standard deviation of the discounted return.
        name: Name of the model.
    """

    network_outputs: tuple[str, ...] = ("action", "value")
    default_has_memory = False
    minibatches: int | Minibatches = 1
    update_epochs = 1
    optional_metrics = (*Agent.optional_metrics, "row_kl")
    driver_class: type[Driver] = Driver
    _preparation: Any

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        rollout_steps: int = 128,
        discount: float | Schedule = 0.99,
        gae_lambda: float | Schedule = 0.95,
        value_coef: float | Schedule | ValueLoss = 0.5,
        entropy_coef: float | Schedule = 0.01,
        normalize_advantages: bool = True,
        normalize_observations: bool | Normalization = False,
        normalize_rewards: bool | Normalization = True,
        name: str | None = None,
    ) -> None:
        super().__init__(network, normalize_observations=normalize_observations, name=name)
        self.rollout_steps = checks.integer("rollout_steps", rollout_steps)
        self.discount = checks.number("discount", discount, most=1.0, schedule=True)
        self.gae_lambda = checks.number("gae_lambda", gae_lambda, most=1.0, schedule=True)
        if not isinstance(value_coef, ValueLoss):
            value_coef = checks.number("value_coef", value_coef, schedule=True)
        self.value_coef = value_coef
        self.entropy_coef = checks.number("entropy_coef", entropy_coef, schedule=True)
        self.normalize_advantages = checks.flag("normalize_advantages", normalize_advantages)
        self.normalize_rewards = Normalization.argument("normalize_rewards", normalize_rewards)

    def default_network(self, env: EnvOrSpaces) -> keras.Model:
        """`krp.networks.feed_forward`."""
        return networks.feed_forward(env, value="value" in self.network_outputs)

    def check_network(
        self, network: keras.Model, observation_space: gymnasium.Space, action_space: gymnasium.Space
    ) -> None:
        """Checks in addition that the network outputs a policy."""
        super().check_network(network, observation_space, action_space)
        reject_q_values(network, type(self).__name__)

    def build(self, env: EnvOrSpaces) -> None:
        """Creates the reward statistics besides what every agent has."""
        super().build(env)
        self.reward_normalizer = Normalization.layer(self.normalize_rewards, center=False)
        self.reward_normalizer.build((None,))

    def metric_names(self) -> list[str]:
        """Names of the metrics besides `return` and `length`."""
        value = ["value_loss", "explained_variance"] if "value" in self.network_outputs else []
        return ["loss", "policy_loss", *value, "entropy", *self.names_for_heads("entropy")]

    def names_for_heads(self, quantity: str) -> list[str]:
        """Names `quantity_head` for each head if there are several, else none."""
        heads = spaces.graph_names(self.action_space)
        return [f"{quantity}_{head}" for head in heads] if len(heads) > 1 else []

    # ---- acting -----------------------------------------------------------------------------------------------

    def act(
        self, observation: Nest, is_first: tf.Tensor, state: Nest, seed: tf.Tensor, deterministic: bool = False
    ) -> tuple[Nest, Nest, Nest]:
        """One step of the policy.

        Args:
            observation: Nest `[B, ...]`.
            is_first: bool `[B]`; where the recurrent state is zeroed before the step.
            state: Recurrent state, nest `[B, ...]`.
            seed: int32 `[2]`.
            deterministic: Whether to take the mode instead of a sample.

        Returns:
            `(action, record, state)`: the action for the environment, what the update will need, the next recurrent state.
        """
        action, record, outputs, state = self.policy_step(observation, is_first, state, seed, deterministic)
        return action, {**record, "value": self._values(outputs, is_first)}, state

    def value(self, observation: Nest, is_first: tf.Tensor, state: Nest) -> tf.Tensor:
        """Values `[B]` of observations; the recurrent state is zeroed where `is_first`."""
        noisy, observation = bool(self.noisy_layers), self.normalize(observation)
        return self._values(self._unrolled.step(observation, is_first, state, training=noisy)[0], is_first)

    def final_value(self, observation: Nest, state: Nest) -> tf.Tensor:
        """Values `[B]` of final observations; `state` is the recurrent state before the reset."""
        return self.value(observation, tf.zeros(keras.tree.flatten(observation)[0].shape[:1], tf.bool), state)

    def _values(self, outputs, like):
        """The network's values as float32; zeros of the shape of `like` for an agent without values."""
        if "value" not in self.network_outputs:
            return tf.zeros_like(like, tf.float32)
        return tf.cast(outputs["value"][..., 0], tf.float32)

    # ---- from rollouts to minibatches -------------------------------------------------------------------------

    @property
    def dealing(self) -> Minibatches:
        """`minibatches` as a `Minibatches`."""
        return Minibatches.of(self.minibatches)

    def check_sequences(self) -> None:
        """Raises a `ValueError` unless `sequence_length` divides the rollout."""
        length = self.dealing.sequence_length
        if length is not None and self.rollout_steps % length:
            raise ValueError(
                "`sequence_length` must divide `rollout_steps`. "
                f"Received: sequence_length={length}, rollout_steps={self.rollout_steps}"
            )

    def updates_per_rollout(self, num_envs: int) -> int:
        """`minibatches * update_epochs`; a `ValueError` if the sequences of a rollout cannot be divided evenly."""
        self.check_sequences()
        length = self.resolved_sequence_length(num_envs)
        rows = self.rollout_steps // length * num_envs
        count = self.dealing.count
        if rows % count:
            raise ValueError(
                f"`minibatches` must divide the sequences of a rollout, rollout_steps / sequence_length * num_envs = {rows}. "
                f"Received: minibatches={count}, rollout_steps={self.rollout_steps}, sequence_length={length}, "
                f"num_envs={num_envs}"
            )
        return count * self.update_epochs

    def make_source(self, env: BatchEnv, seed: int) -> RolloutSource:
        """Rollouts of `env` as minibatches."""
        return OnPolicySource(self, env, self.resolved_sequence_length(env.num_envs), seed)

    def preparation(self, driver: Driver, sequence_length: int) -> Preparation:
        """Returns the `Preparation` for rollouts of `driver`, reset; a new one unless the graph of the updates has one."""
        if self.train_function is None:
            self._preparation = Preparation(self, driver, sequence_length)
        self._preparation.reset()
        return self._preparation

    def prepare(self, collected: Any) -> Any:
        """Returns a collected rollout as `Sequences`."""
        return self._preparation(collected)

    def resolved_sequence_length(self, num_envs: int) -> int:
        """Steps in each sequence of a rollout of `num_envs` environments."""
        if self.dealing.sequence_length is not None:
            return self.dealing.sequence_length
        if not (self.default_has_memory if self.network is None else has_memory(self.network)):
            return 1
        divisors = [n for n in range(1, self.rollout_steps + 1) if self.rollout_steps % n == 0]
        fitting = [n for n in divisors if self.rollout_steps // n * num_envs % self.dealing.count == 0]
        return max(fitting, default=self.rollout_steps)

    # ---- learning ---------------------------------------------------------------------------------------------

    def advantages(self, rollout: Rollout, reward: tf.Tensor, next_value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Advantages and value targets of a rollout: GAE(lambda).

        Called once for each rollout, before its updates and in the same graph.

        Args:
            rollout: The driver's `Rollout` with normalised observations; its record also has the actions' `"log_prob"` under
                the policy that acted, float32 `[T, B]`.
            reward: float32 `[T, B]`; scaled if `normalize_rewards`.
            next_value: float32 `[T, B]`; the value of the observation that each action led to, final observations included.

        Returns:
            `(advantage, target)`, float32 `[T, B]` each; `target` is that of the values.
        """
        value, continues = rollout.record["value"], 1.0 - tf.cast(rollout.ended, tf.float32)
        discount = self.now(self.discount) * rollout.discount
        advantage = gae(reward, discount, value, next_value, continues, self.now(self.gae_lambda))
        if self.value_settings.target == "monte_carlo":
            return advantage, discounted_returns(reward, discount, next_value, continues)
        return advantage, advantage + value

    def sample_weight(self, rollout: Rollout) -> tf.Tensor | None:
        """Weights of the rows of a rollout in all losses, and in the statistics of the advantages; `None` for equal ones.

        Losses are weighted means, so that a row of weight 0 changes nothing. For a subclass to override:

        ```python
        class Careful(krp.PPO):
            def sample_weight(self, rollout):  # learns nothing from rows with a reward above 10
                return tf.cast(rollout.reward <= 10.0, tf.float32)
        ```

        Args:
            rollout: The driver's `Rollout` with normalised observations.

        Returns:
            float32 `[T, B]` of numbers of at least 0, or `None`.
        """
        return None

    @property
    def value_settings(self) -> ValueLoss:
        """`value_coef` as a `ValueLoss`."""
        return ValueLoss.of(self.value_coef)

    def policy_loss(self, policy: Joint, log_prob: tf.Tensor, advantage: tf.Tensor, data: Minibatch) -> Loss:
        """The loss of the policy for each row.

        Args:
            policy: The current `Joint` distribution over actions.
            log_prob: float32 `[L, R]`; log-probabilities of the actions under it.
            advantage: float32 `[L, R]`.
            data: A `keras_rl_prob.sources.on_policy.Minibatch`.

        Returns:
            `(loss, logs)`: float32 `[L, R]`, and a dict of scalars to be reported.
        """
        raise NotImplementedError(f"`{type(self).__name__}` must have a `policy_loss`, or `parts`.")

    def value_error(self, value: tf.Tensor, data: Minibatch) -> tf.Tensor:
        """Error of the value, squared or Huber's, float32 `[L, R]`."""
        delta = self.now(self.value_settings.huber_delta)
        if delta is None:
            return tf.math.squared_difference(value, data.target)
        return clipped_value_loss(value, data.value, data.target, None, delta)

    def loss_weight(self, policy: Joint, data: Minibatch) -> tuple[tf.Tensor | None, dict[str, tf.Tensor]]:
        """Weights of the rows of a `Minibatch` in its losses.

        Args:
            policy: The current `Joint` distribution over actions.
            data: A `Minibatch`.

        Returns:
            `(weight, logs)`: float32 `[L, R]`, or `None` for equal weights, and a dict of scalars to be reported.
        """
        return (None if isinstance(data.weight, tuple) else data.weight), {}

    def policy_and_value(self, data: Minibatch) -> tuple[Joint, tf.Tensor]:
        """Policy and values of the network for a `Minibatch`.

        Returns:
            `(policy, value)`: the `Joint` distribution over actions, and float32 `[L, R]`, zeros if the agent has no values.
        """
        noisy = bool(self.noisy_layers)  # that of the rollout
        outputs, _ = self._unrolled(data.observation, data.is_first, data.state, training=noisy)
        return self.distribution(outputs["action"]), self._values(outputs, data.valid)

    def loss_and_logs(self, data: Nest) -> Loss:
        """The loss for a `Minibatch`, and a dict of its terms, scalars."""
        policy, value = self.policy_and_value(data)
        weight, more = self.loss_weight(policy, data)
        mean = functools.partial(masked_mean, mask=data.valid, weights=weight)
        advantage = data.advantage
        if self.normalize_advantages:
            advantage = masked_normalize(advantage, data.valid, weights=weight)
        policy_losses, logs = self.policy_loss(policy, policy.log_prob(data.raw), advantage, data)
        self._check_losses("policy_loss", policy_losses, data)
        entropies = [mean(entropy) for entropy in policy.entropies()]
        policy_loss, entropy = mean(policy_losses), tf.add_n(entropies)
        loss = policy_loss - self.now(self.entropy_coef) * entropy
        if "value" in self.network_outputs:
            errors = self.value_error(value, data)
            self._check_losses("value_error", errors, data)
            value_loss = mean(errors)
            loss += self.now(self.value_settings.coef) * value_loss
            logs = {"value_loss": value_loss, **logs}
        parts = dict(zip(self.names_for_heads("entropy"), entropies, strict=False))
        return loss, {"policy_loss": policy_loss, "entropy": entropy, **parts, **logs, **more}

    def after_update(self, data: Nest) -> None:
        """Keeps the KL divergence of each row of a `Minibatch` if `compile` was asked for `"row_kl"`."""
        if "row_kl" in self.watched and isinstance(data, Minibatch):  # the rows of a `Gradient` are elsewhere
            policy, _ = self.policy_and_value(data)
            self._preparation.keep_kl(data, self.distribution(data.parameters).kl_divergence(policy))

    def _check_losses(self, method, losses, data):
        shape = tuple(data.valid.shape)
        check_shape(self, method, f"a loss for each row, a tensor of the shape {shape}", losses, shape)
