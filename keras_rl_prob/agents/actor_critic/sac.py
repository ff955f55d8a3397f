"""Soft actor-critic."""

import math
from typing import Any, NamedTuple

import gymnasium
import keras
import tensorflow as tf

from keras_rl_prob import checks, networks
from keras_rl_prob.agents.actor_critic.base import ReplayedActorCritic, seeds
from keras_rl_prob.agents.actor_critic.critics import encoder_of
from keras_rl_prob.agents.actor_critic.settings import LearnedTemperature
from keras_rl_prob.agents.network_checks import reject_q_values
from keras_rl_prob.distributions import Joint
from keras_rl_prob.envs.factory import EnvOrSpaces
from keras_rl_prob.layers import Normalization
from keras_rl_prob.layers.head import MASKED_LOGIT
from keras_rl_prob.learning.parts import Part
from keras_rl_prob.replay.settings import ReplaySettings
from keras_rl_prob.types import Loss, Nest


class SampledActions(NamedTuple):
    """Actions of a policy: samples of their continuous parts, and the probabilities of their discrete ones.

    Attributes:
        action: The continuous parts, nest `[N, ...]`, as the environment takes them, which gradients pass; `()` if there are
            none.
        log_density: Of these, float32 `[N]`, or `None`.
        log_probabilities: Of all combinations of discrete parts, float32 `[N, combinations]`, or `None` if there are none.
    """

    action: Nest
    log_density: Any
    log_probabilities: Any

    def expectation(self, values: tf.Tensor) -> tf.Tensor:
        """Expectation `[N]` over discrete parts of values `[N, combinations]`."""
        return tf.reduce_sum(tf.exp(self.log_probabilities) * values, -1)

    def entropy(self) -> tf.Tensor:
        """Entropy of the discrete parts, `[N]`, in nats."""
        return -self.expectation(self.log_probabilities)

    def greatest_entropy(self) -> tf.Tensor:
        """Logarithm of the number of combinations that masks allow, `[N]`."""
        allowed = tf.cast(self.log_probabilities > 0.5 * MASKED_LOGIT, tf.float32)
        return tf.math.log(tf.reduce_sum(allowed, -1))


@keras.saving.register_keras_serializable("keras_rl_prob")
class SAC(ReplayedActorCritic):
    """Soft actor-critic: learns from a replay buffer, and is rewarded for the entropy of its policy.

    After every `rollout_steps` rows from every environment, which go into a replay buffer, `updates` batches are sampled from
    it, each for one gradient step of all parts (one Keras step). The critics `Q_i` learn

        y = R + gamma^m (min_i Q_target_i(s', a') - alpha log pi(a' | s')),   a' ~ pi(. | s')

    by half the squared error, where `R` and `m` are those of `krp.DQN`; the policy minimises the mean of

        alpha log pi(a | s) - min_i Q_i(s, a),   a ~ pi(. | s)

    through its reparameterised samples `a`, and the temperature `alpha`, unless it is fixed, the mean of
    `-log(alpha) (log pi(a | s) + target entropy)`. `log pi` is the density of the action that the environment takes,
    or, without two bounds, before it is clipped to the one that there is.

    Discrete parts `d` of actions (Discrete, MultiDiscrete) are not sampled in these formulas: the critics give the values of
    all their combinations, and `min_i Q_i(s, a) - alpha log pi(a | s)` becomes the expectation

        sum_d pi(d | s) (min_i Q_i(s, c, d) - alpha_d log pi(d | s)) - alpha_c log pi(c | s),   c ~ pi(. | s)

    where `c` are the continuous parts, if there are any. Each kind has a temperature and an entropy of its own. Combinations
    that an action mask forbids have probability 0.

    Args:
        network: Functional model for one step: `{"action": head(x)}`, heads with a scale that depends on the observation.
            `None` makes `krp.networks.stochastic_actor(env)`.
        critic: Functional model from `{"observation": ..., "action": ...}` to the values of several critics `[B, n]`; with
            discrete parts, from the continuous parts to the values `[B, n, combinations]`, and without any other parts from
            `{"observation": ...}`. `None` makes `krp.networks.critic(env)`, two of them.
        rollout_steps: Rows collected from each environment between updates.
        updates: Gradient steps after each rollout. The default is one for each of the rows from 8 environments.
        discount: Gamma.
        temperature: Weight of the entropy, alpha: a number, for both kinds of parts, or a `LearnedTemperature`.
        target_update: Part of the way that the target critics go towards the critics after each gradient step, a float below
            1; or the gradient steps from one copy to the next, an integer.
        replay: A `ReplaySettings`: capacity, batch size, n-step returns, priorities.
        normalize_observations: Whether observations are normalised by running statistics; a `Normalization` sets the clip.
        name: Name of the model.

    Attributes:
        log_temperature: Variable, the logarithm of a learned temperature; with continuous and discrete parts `[2]`, in this
            order.

    Raises:
        ValueError: An argument is out of its range, or does not fit a network or the environment.

    References:
        Haarnoja et al., "Soft actor-critic algorithms and applications", 2018, https://arxiv.org/abs/1812.05905; Christodoulou,
        "Soft actor-critic for discrete action settings", 2019, https://arxiv.org/abs/1910.07207; Delalleau et al., "Discrete
        and continuous action representation for practical RL in video games", 2019, https://arxiv.org/abs/1912.11077.

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
        return networks.stochastic_actor(env, encoder=encoder_of(self.critic))

    def check_network(
        self, network: keras.Model, observation_space: gymnasium.Space, action_space: gymnasium.Space
    ) -> None:
        """Checks in addition that the network is a policy."""
        super().check_network(network, observation_space, action_space)
        reject_q_values(network, type(self).__name__)

    def build(self, env: EnvOrSpaces) -> None:
        """Creates the temperature besides what every agent has."""
        super().build(env)
        if self.learns_temperature:
            start = keras.initializers.Constant(math.log(self.temperature.initial))
            options = {"initializer": start, "dtype": "float32", "autocast": False}
            shape = () if len(self._kinds) == 1 else (2,)
            self.log_temperature = self.add_weight(name="log_temperature", shape=shape, **options)

    def metric_names(self) -> list[str]:
        """Names of the metrics besides `return` and `length`."""
        return [
            *super().metric_names(),
            *(f"{kind}{name}" for kind in self._kinds for name in ("entropy", "temperature")),
        ]

    @property
    def _kinds(self):
        """A prefix of names for each kind of parts of actions: continuous ones first, if there are any."""
        parts = self.parts_of_actions
        return ["", "discrete_"] if parts.discrete and parts.continuous_space is not None else [""]

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
        """The temperature, fixed or learned, float32 scalar; with continuous and discrete parts `[2]`."""
        if self.learns_temperature:
            return tf.exp(tf.convert_to_tensor(self.log_temperature))
        return tf.fill(() if len(self._kinds) == 1 else (2,), tf.cast(self.now(self.temperature), tf.float32))

    def next_value(self, data: Nest) -> tf.Tensor:
        """Soft values of the next observations, `[N]`."""
        return self.soft_value(
            self.target_critic, data, self.sample(data, seeds(data)[0], following=True), following=True
        )

    def temperature_loss(self, data: Nest) -> Loss:
        """The loss of the temperature, and a dict of scalars to be reported."""
        sample, mean, excess = self.sample(data, seeds(data)[1]), self.mean_of(data), []
        if sample.log_density is not None:
            target = self.temperature.target(self.action_space)
            excess.append(mean(tf.stop_gradient(sample.log_density)) + target)
        if sample.log_probabilities is not None:
            target = self.temperature.discrete_target * sample.greatest_entropy()
            excess.append(mean(tf.stop_gradient(target - sample.entropy())))
        log_temperature = tf.convert_to_tensor(self.log_temperature)
        if len(excess) == 1:
            return -log_temperature * excess[0], {}
        return -tf.reduce_sum(log_temperature * tf.stack(excess)), {}

    def actor_loss(self, data: Nest) -> Loss:
        """The loss of the policy, and a dict of scalars to be reported."""
        sample, mean = self.sample(data, seeds(data)[1]), self.mean_of(data)
        loss = -mean(self.soft_value(self.critic, data, sample))
        entropies = [] if sample.log_density is None else [-mean(sample.log_density)]
        if sample.log_probabilities is not None:
            entropies.append(mean(sample.entropy()))
        logs = {f"{kind}entropy": x for kind, x in zip(self._kinds, entropies, strict=True)}
        temperatures = tf.unstack(tf.reshape(self.current_temperature, (-1,)))
        return loss, logs | {f"{kind}temperature": x for kind, x in zip(self._kinds, temperatures, strict=True)}

    def soft_value(self, critic: keras.Model, data: Nest, sample: SampledActions, following: bool = False) -> tf.Tensor:
        """Values of sampled actions plus what their entropy is worth, `[N]`.

        Args:
            critic: `self.critic` or `self.target_critic`, of which the smallest value counts.
            data: `Transitions`.
            sample: Actions at the observations of `data`, or at the following ones.
            following: Whether to take `data.next_observation`.
        """
        values, temperature = self.values(critic, data, sample.action, following), self.current_temperature
        temperatures = tf.unstack(tf.reshape(tf.stop_gradient(temperature), (-1,)))
        values = tf.reduce_min(values, -2 if self.parts_of_actions.discrete else -1)
        if sample.log_probabilities is not None:
            values = sample.expectation(values) + temperatures[-1] * sample.entropy()
        return values if sample.log_density is None else values - temperatures[0] * sample.log_density

    def sample(self, data: Nest, seed: tf.Tensor, following: bool = False) -> SampledActions:
        """Actions of the policy at the observations of a batch or at the following ones.

        Args:
            data: `Transitions`.
            seed: int32 `[2]`.
            following: Whether to take `data.next_observation`.
        """
        parameters, parts = self.parameters_at(self.network, data, following), self.parts_of_actions
        action, log_density = (), None
        if parts.continuous_space is not None:
            policy = self.distribution(parameters)
            raw = policy.sample(seed)
            action = parts.continuous(self.environment_action(raw))
            log_density = Joint(parts.continuous(policy.distributions)).log_prob(parts.continuous(raw))
        return SampledActions(action, log_density, parts.log_probabilities(parameters) if parts.discrete else None)
