"""Soft actor-critic."""

import math
from typing import Any

import keras
import tensorflow as tf

from keras_rl_prob import checks, networks
from keras_rl_prob.agents.actor_critic.base import ReplayedActorCritic, seeds
from keras_rl_prob.agents.actor_critic.settings import LearnedTemperature
from keras_rl_prob.envs.factory import EnvOrSpaces
from keras_rl_prob.layers import Normalization
from keras_rl_prob.learning.parts import Part
from keras_rl_prob.replay.settings import ReplaySettings
from keras_rl_prob.types import Loss, Nest


@keras.saving.register_keras_serializable("keras_rl_prob")
class SAC(ReplayedActorCritic):
    """Soft actor-critic: learns continuous actions from a replay buffer, and is rewarded for the entropy of its policy.

    After every `rollout_steps` rows from every environment, which go into a replay buffer, `updates` batches are sampled from
    it, each for one gradient step of all parts (one Keras step). The critics `Q_i` learn

        y = R + gamma^m (min_i Q_target_i(s', a') - alpha log pi(a' | s')),   a' ~ pi(. | s')

    by half the squared error, where `R` and `m` are those of `krp.DQN`; the policy minimises the mean of

        alpha log pi(a | s) - min_i Q_i(s, a),   a ~ pi(. | s)

    through its reparameterised samples `a`, and the temperature `alpha`, unless it is fixed, the mean of
    `-log(alpha) (log pi(a | s) + target entropy)`. `log pi` is the density of the action that the environment takes.

    Args:
        network: Functional model for one step: `{"action": head(x)}`, heads with a scale that depends on the observation.
            `None` makes `krp.networks.stochastic_actor(env)`.
        critic: Functional model from `{"observation": ..., "action": ...}` to the values of several critics `[B, n]`. `None`
            makes `krp.networks.critic(env)`, two of them.
        rollout_steps: Rows collected from each environment between updates.
        updates: Gradient steps after each rollout. The default is one for each of the rows from 8 environments.
        discount: Gamma.
        temperature: Weight of the entropy, alpha: a number, or a `LearnedTemperature`.
        target_update: Part of the way that the target critics go towards the critics after each gradient step, a float below
            1; or the gradient steps from one copy to the next, an integer.
        replay: A `ReplaySettings`: capacity, batch size, n-step returns, priorities.
        normalize_observations: Whether observations are normalised by running statistics; a `Normalization` sets the clip.
        name: Name of the model.

    Attributes:
        log_temperature: Variable, the logarithm of a learned temperature.

    Raises:
        ValueError: An argument is out of its range, or does not fit a network or the environment.

    References:
        Haarnoja et al., "Soft actor-critic algorithms and applications", 2018, https://arxiv.org/abs/1812.05905.

    Example:
    ```python
    agent = krp.SAC(discount=0.95)
    agent.compile({name: keras.optimizers.Adam(1e-3) for name in ("critic", "temperature", "actor")})
    agent.fit("tf/Pendulum-v1", epochs=5)
    ```
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        critic: keras.Model | None = None,
        *,
        rollout_steps: int = 4,
        updates: int = 32,
        discount: float = 0.99,
        temperature: float | LearnedTemperature = LearnedTemperature(),  # noqa: B008 (immutable)
        target_update: int | float = 0.005,
        replay: ReplaySettings = ReplaySettings(batch_size=256),  # noqa: B008 (immutable)
        normalize_observations: bool | Normalization = False,
        name: str | None = None,
    ) -> None:
        super().__init__(
            network,
            critic,
            rollout_steps=rollout_steps,
            updates=updates,
            discount=discount,
            target_update=target_update,
            replay=replay,
            normalize_observations=normalize_observations,
            name=name,
        )
        learned = isinstance(temperature, LearnedTemperature)
        self.temperature: Any = temperature if learned else checks.number("temperature", temperature, 0.0)

    def default_network(self, env: EnvOrSpaces) -> keras.Model:
        """`krp.networks.stochastic_actor`."""
        return networks.stochastic_actor(env)

    def build(self, env: EnvOrSpaces) -> None:
        """Creates the temperature besides what every agent has."""
        super().build(env)
        if self.learns_temperature:
            start = keras.initializers.Constant(math.log(self.temperature.initial))
            options = {"initializer": start, "dtype": "float32", "autocast": False}
            self.log_temperature = self.add_weight(name="log_temperature", shape=(), **options)

    def metric_names(self) -> list[str]:
        """Names of the metrics besides `return` and `length`."""
        return [*super().metric_names(), "entropy", "temperature"]

    # ---- learning ---------------------------------------------------------------------------------------------

    def parts(self) -> list[Part]:
        """The critics, the temperature unless it is fixed, the policy; the last two share the policy's outputs."""
        critic, actor = super().parts()
        if not self.learns_temperature:
            return [critic, actor]
        return [critic, Part("temperature", [self.log_temperature], self.temperature_loss), actor]

    @property
    def learns_temperature(self) -> bool:
        """Whether the temperature is not fixed."""
        return isinstance(self.temperature, LearnedTemperature)

    @property
    def current_temperature(self) -> tf.Tensor:
        """The temperature, fixed or learned, float32 scalar."""
        if self.learns_temperature:
            return tf.exp(tf.convert_to_tensor(self.log_temperature))
        return tf.constant(self.temperature, tf.float32)

    def next_value(self, data: Nest) -> tf.Tensor:
        """Soft values of the next observations, `[N]`."""
        action, log_prob = self.sample(data, seeds(data)[0], following=True)
        values = tf.reduce_min(self.values(self.target_critic, data, action, following=True), -1)
        return values - self.current_temperature * log_prob

    def temperature_loss(self, data: Nest) -> Loss:
        """The loss of the temperature, and a dict of scalars to be reported."""
        _, log_prob = self.sample(data, seeds(data)[1])
        excess = self.mean_of(data)(tf.stop_gradient(log_prob)) + self.temperature.target(self.action_space)
        return -tf.convert_to_tensor(self.log_temperature) * excess, {}

    def actor_loss(self, data: Nest) -> Loss:
        """The loss of the policy, and a dict of scalars to be reported."""
        action, log_prob = self.sample(data, seeds(data)[1])
        value = tf.reduce_min(self.values(self.critic, data, action), -1)
        temperature, mean = tf.stop_gradient(self.current_temperature), self.mean_of(data)
        return mean(temperature * log_prob - value), {"entropy": -mean(log_prob), "temperature": temperature}

    def sample(self, data: Nest, seed: tf.Tensor, following: bool = False) -> tuple[Nest, tf.Tensor]:
        """Actions of the policy at the observations of a batch or at the following ones, and their log-densities.

        Args:
            data: `Transitions`.
            seed: int32 `[2]`.
            following: Whether to take `data.next_observation`.

        Returns:
            Nest `[N, ...]` of actions as the environment takes them, which gradients pass, and float32 `[N]`.
        """
        policy = self.policy_at(self.network, data, following)
        raw = policy.sample(seed)
        return self.environment_action(raw), policy.log_prob(raw)
