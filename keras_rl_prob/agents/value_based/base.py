"""What agents with action values share: acting, exploration and the temporal-difference loss."""

from typing import Any

import gymnasium
import keras
import tensorflow as tf

from keras_rl_prob import border, checks
from keras_rl_prob.agents import network_checks
from keras_rl_prob.agents.agent import Agent
from keras_rl_prob.agents.value_based.exploration import Boltzmann, EpsilonGreedy
from keras_rl_prob.layers import Normalization
from keras_rl_prob.learning.parts import check_shape
from keras_rl_prob.ops.temporal_difference import bootstrap_values, chosen, huber
from keras_rl_prob.types import Loss, Nest


class QLearning(Agent):
    """Base class of agents that learn action values from transitions.

    Args:
        network: Functional model for one step: `{"action": QValues((actions,))(values)}`, or `None`.
        discount: Gamma.
        exploration: `EpsilonGreedy` or `Boltzmann`; `None` is `EpsilonGreedy()`.
        huber_delta: Error at which the loss turns from quadratic to linear, or `None` for half the squared error.
        normalize_observations: Whether observations are normalised by running statistics.
        name: Name of the model.

    Attributes:
        noisy: Kind of noise on the network's weights that replaces exploration, or `None`.
    """

    noisy: str | None = None
    wants_memory = False

    def __init__(
        self,
        network: keras.Model | None,
        *,
        discount: float,
        exploration: EpsilonGreedy | Boltzmann | None,
        huber_delta: float | None,
        normalize_observations: bool | Normalization,
        name: str | None,
    ) -> None:
        super().__init__(network, normalize_observations=normalize_observations, name=name)
        self.discount = checks.fraction("discount", discount)
        self.exploration = checks.instance("exploration", exploration, (EpsilonGreedy, Boltzmann))
        self.huber_delta = checks.number("huber_delta", huber_delta, above=0.0, none=True)

    def check_network(
        self, network: keras.Model, observation_space: gymnasium.Space, action_space: gymnasium.Space
    ) -> None:
        """Checks in addition that the network outputs values of Discrete actions."""
        super().check_network(network, observation_space, action_space)
        network_checks.check_q_network(self, network, action_space)

    @property
    def exploration_in_use(self) -> EpsilonGreedy | Boltzmann | None:
        """The exploration; `None` for an agent with noisy weights."""
        return EpsilonGreedy() if self.exploration is None and self.noisy is None else self.exploration

    @property
    def acts_compiled(self) -> bool:
        """Whether the agent can choose actions in a graph that is compiled with XLA."""
        return getattr(self.exploration_in_use, "compilable", True)

    def metric_names(self) -> list[str]:
        """Names of the metrics besides `return` and `length`."""
        exploration = [self.exploration_in_use.name] if self.exploration_in_use is not None else []
        return ["loss", "q_value", "td_error", *exploration]

    def act(
        self, observation: Nest, is_first: tf.Tensor, state: Nest, seed: tf.Tensor, deterministic: bool = False
    ) -> tuple[Nest, Nest, Nest]:
        """One step of the agent: a greedy or an exploratory action.

        Args:
            observation: Nest `[B, ...]`.
            is_first: bool `[B]`; where the recurrent state is zeroed before the step.
            state: Recurrent state, nest `[B, ...]`.
            seed: int32 `[2]`.
            deterministic: Whether to take the greedy action, without exploration or noise.

        Returns:
            `(action, record, state)`: the action for the environment, what the update will need, the next recurrent state.
        """
        noisy = bool(self.noisy_layers) and not deterministic
        outputs, state = self._unrolled.step(self.normalize(observation), is_first, state, training=noisy)
        values, exploration = outputs["action"], None if deterministic else self.exploration_in_use
        if exploration is None:
            raw = tf.argmax(values, -1, tf.int32)
        else:
            seen = border.decode(self.observation_space, self.observed(observation), bounded=False)
            steps, start = tf.convert_to_tensor(self.env_steps), int(self.action_space.start)
            raw = exploration.act(values, seen, steps, seed, start)
        return self.environment_action(raw), {"raw": raw, "parameters": values}, state

    def final_value(self, observation: Nest, state: Nest) -> Nest:
        """The observation itself, which transitions need."""
        return observation

    def exploration_report(self) -> dict[str, tf.Tensor]:
        """The current epsilon or temperature, a dict of a float32 scalar."""
        exploration = self.exploration_in_use
        return (
            {} if exploration is None else {exploration.name: exploration.value(tf.convert_to_tensor(self.env_steps))}
        )

    # ---- learning ---------------------------------------------------------------------------------------------

    def loss_and_logs(self, data: Nest) -> Loss:
        """The loss for `keras_rl_prob.sources.replay.Transitions`, and a dict of scalars to be reported."""
        self.resample_noise(data.seed)
        value = chosen(self._values(self.network, data.observation), data.action)
        target = self.target(data.reward, data.discount, self._next_value(data.next_observation))
        return self._loss_of_errors(data, value, tf.stop_gradient(target))

    def target(self, reward: tf.Tensor, discount: tf.Tensor, next_value: tf.Tensor) -> tf.Tensor:
        """The target of a value: `reward + discount * next_value`, each of the same shape."""
        return reward + discount * next_value

    def check_target(self, value: tf.Tensor, target: Any) -> None:
        """Raises a `ValueError` unless `target` returned a tensor of the shape of the values; others might broadcast."""
        check_shape(
            self, "target", f"a target for each value, a tensor of the shape {tuple(value.shape)}", target, value.shape
        )

    def _values(self, network, observation):
        return network(self.normalize(observation), training=bool(self.noisy_layers))["action"]

    def _next_value(self, observation):
        return bootstrap_values(self._values(self.network, observation))

    def keep_errors(self, index: tf.Tensor, errors: tf.Tensor) -> None:
        """Called with the absolute errors `[N]` of update `index`, for agents with priorities."""

    def _loss_of_errors(self, data, value, target):
        """Mean of the weighted losses of the errors `[N]`, and scalars to be reported."""
        self.check_target(value, target)
        error = target - value
        self.keep_errors(data.index, tf.abs(error))
        counted = tf.cast(data.weight > 0.0, tf.float32)
        count = tf.maximum(tf.reduce_sum(counted), 1.0)
        loss = tf.reduce_sum(data.weight * huber(error, self.now(self.huber_delta))) / count
        return loss, {
            "q_value": tf.reduce_sum(counted * value) / count,
            "td_error": tf.reduce_sum(counted * tf.abs(error)) / count,
        }
