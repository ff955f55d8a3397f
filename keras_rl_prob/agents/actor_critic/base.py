"""What actor-critics with a replay buffer share: critics of actions, and their temporal-difference loss."""

import functools
from typing import Any

import gymnasium
import keras
import tensorflow as tf

from keras_rl_prob import checks, networks
from keras_rl_prob.agents.actor_critic.critics import (
    check_critic,
    check_shared,
    check_squashes,
    encoder_of,
    with_shared_encoder,
)
from keras_rl_prob.agents.agent import Agent
from keras_rl_prob.agents.network_checks import check_has_no_memory
from keras_rl_prob.agents.replaying import ReplayingModel
from keras_rl_prob.distributions import ActionParts, Joint
from keras_rl_prob.envs.factory import EnvOrSpaces
from keras_rl_prob.keras_internals import layers_of, seed_generators
from keras_rl_prob.layers import NoisyDense, Normalization
from keras_rl_prob.learning.parts import Part
from keras_rl_prob.learning.targets import checked_update, target_of, update
from keras_rl_prob.networks.critics import check_ranges
from keras_rl_prob.networks.weights import take_weights
from keras_rl_prob.ops.masking import masked_mean
from keras_rl_prob.ops.temporal_difference import chosen
from keras_rl_prob.replay.settings import ReplaySettings
from keras_rl_prob.types import Loss, Nest


class ReplayedActorCritic(ReplayingModel, Agent):
    """Base class of agents that learn a policy and critics of its actions from transitions.

    Args:
        network: Functional model for one step: `{"action": head(x)}`, or `None`.
        critic: Functional model from `{"observation": ..., "action": ...}` to the values of several critics `[B, n]`, or
            `None`.
        rollout_steps: Rows collected from each environment between updates.
        updates: Gradient steps after each rollout.
        discount: Gamma.
        target_update: Part of the way that target networks go towards their networks after each gradient step, a float below
            1; or the gradient steps from one copy to the next, an integer.
        replay: A `ReplaySettings`.
        normalize_observations: Whether observations are normalised by running statistics.
        name: Name of the model.

    Attributes:
        target_critic: The critic that follows `critic` slowly.
        parts_of_actions: `keras_rl_prob.distributions.ActionParts` of the action space.
    """

    wants_memory = False
    rollouts_per_epoch = 125
    default_num_envs = 8
    training_networks = ("critic", "target_critic")

    def __init__(
        self,
        network: keras.Model | None,
        critic: keras.Model | None,
        *,
        rollout_steps: int,
        updates: int,
        discount: float,
        target_update: int | float,
        replay: ReplaySettings,
        normalize_observations: bool | Normalization,
        name: str | None,
    ) -> None:
        super().__init__(network, normalize_observations=normalize_observations, name=name)
        critic = checks.instance("critic", critic, (keras.Model,))
        self.critic = with_shared_encoder(critic, network)
        self.set_replay(rollout_steps, updates, replay)
        self.discount = checks.fraction("discount", discount)
        self.target_update = checked_update(target_update)

    def check_network(
        self, network: keras.Model, observation_space: gymnasium.Space, action_space: gymnasium.Space
    ) -> None:
        """Checks in addition that the critic takes observations and actions."""
        self.parts_of_actions = ActionParts(action_space)
        check_ranges(action_space)
        super().check_network(network, observation_space, action_space)
        check_squashes(network, action_space)
        if any(isinstance(layer, NoisyDense) for layer in layers_of(network)):
            raise ValueError(
                f"`network` must not have `NoisyDense` layers, whose noise {type(self).__name__} would not learn: it explores "
                "by its own noise, or by `krp.layers.DenseGSDE`"
            )
        if self.replay.learning_starts > self.replay.capacity:
            raise ValueError(
                "`learning_starts` must be at most `capacity`, or learning would never start. "
                f"Received: learning_starts={self.replay.learning_starts}, capacity={self.replay.capacity}"
            )
        if self.critic is not None:
            check_critic(self.critic, observation_space, self.parts_of_actions)
            check_shared(network, self.critic)
        if not self.wants_memory:
            advice = f"Use `krp.Recurrent{type(self).__name__}`, which replays sequences."
            check_has_no_memory(network, type(self).__name__, advice)
            if self.critic is not None:
                check_has_no_memory(self.critic, type(self).__name__, advice, "critic")

    def build_networks(self, env: EnvOrSpaces) -> None:
        """Creates the critics, if the constructor was given none, and their target network."""
        if self.critic is None:
            self.critic = networks.critic(env, encoder=encoder_of(self.network))

    def build(self, env: EnvOrSpaces) -> None:
        """Creates the target network besides what every agent has."""
        super().build(env)
        self.target_critic = target_of(self.critic)

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """`Adam(3e-4)`."""
        return keras.optimizers.Adam(3e-4)

    def metric_names(self) -> list[str]:
        """Names of the metrics besides `return` and `length`."""
        return ["critic_loss", "actor_loss", "q_value", "td_error", "replay_size"]

    def begin_training(self) -> None:
        """Copies the weights to the target networks."""
        take_weights(self.target_critic, self.critic)

    def act(
        self, observation: Nest, is_first: tf.Tensor, state: Nest, seed: tf.Tensor, deterministic: bool = False
    ) -> tuple[Nest, Nest, Nest]:
        """One step of the agent: a sample of the policy, or its mode.

        Args:
            observation: Nest `[B, ...]`.
            is_first: bool `[B]`.
            state: `()`.
            seed: int32 `[2]`.
            deterministic: Whether to take the mode.

        Returns:
            `(action, record, state)`: the action for the environment, what the update will need, `()`.
        """
        action, record, _, state = self.policy_step(observation, is_first, state, seed, deterministic)
        return action, record, state

    # ---- learning ---------------------------------------------------------------------------------------------

    def parts(self) -> list[Part]:
        """The critics with the encoder that both share, if there is one, then the policy."""
        of_critic = self.critic.trainable_variables
        known = set(map(id, of_critic))
        of_actor = [variable for variable in self.network.trainable_variables if id(variable) not in known]
        return [Part("critic", of_critic, self.critic_loss), Part("actor", of_actor, self.actor_loss)]

    def next_value(self, data: Nest) -> tf.Tensor:
        """Values of the next observations of `Transitions`, `[N]`."""
        raise NotImplementedError

    def actor_loss(self, data: Nest) -> Loss:
        """The loss of the policy for `keras_rl_prob.sources.replay.Transitions`, and a dict of scalars to be reported."""
        raise NotImplementedError

    def critic_loss(self, data: Nest) -> Loss:
        """The sum over critics of their weighted mean of half the squared errors, and a dict of scalars to be reported."""
        self.reseed(data.seed)
        values, target, mask = self.values_and_targets(data)
        errors = tf.stop_gradient(target)[..., None] - values
        size, mean = tf.reduce_mean(tf.abs(errors), -1), functools.partial(masked_mean, mask=mask)
        self.keep_errors(data.index, self.priority(size, mask))
        loss = mean(data.weight * tf.reduce_sum(0.5 * tf.square(errors), -1))
        return loss, {"q_value": mean(tf.reduce_mean(values, -1)), "td_error": mean(size)}

    def reseed(self, seed: tf.Tensor) -> None:
        """Sets the random states of layers of the critics, such as `Dropout`, for one gradient step; `seed`: int32 `[2]`.

        So they depend on nothing but the seed of `fit`, and a resumed training goes on exactly.
        """
        for index, generator in enumerate([*seed_generators(self.critic), *seed_generators(self.target_critic)]):
            generator.state.assign(tf.cast(tf.bitcast(seed + [index, 17], tf.uint32), generator.state.dtype))

    def values_and_targets(self, data: Nest) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The critics' values `[N, n]` of a batch's actions, what they are to be, `[N]`, and which rows count, bool `[N]`."""
        action = self.environment_action(data.action)
        values = self.chosen(self.values(self.critic, data, self.parts_of_actions.continuous(action)), action)
        return values, data.reward + data.discount * self.next_value(data), data.weight > 0.0

    def values(self, critic: keras.Model, data: Nest, action: Nest, following: bool = False) -> tf.Tensor:
        """Values that critics give actions at the observations of a batch, or at the following ones.

        Args:
            critic: `self.critic` or `self.target_critic`.
            data: `Transitions`.
            action: The continuous parts, nest `[N, ...]`, as the environment takes them.
            following: Whether to take `data.next_observation`.

        Returns:
            float32 `[N, n]`, or `[N, n, combinations]` if there are discrete parts. Layers such as `Dropout` are in training
            mode.
        """
        inputs = self.critic_inputs(_observations(data, following), action)
        return tf.cast(critic(inputs, training=True), tf.float32)

    def critic_inputs(self, observation: Nest, action: Nest) -> dict[str, Nest]:
        """What critics take: observations as environments return them, normalised, and the continuous parts of actions."""
        inputs = {"observation": self.normalize(observation)}
        return inputs if self.parts_of_actions.continuous_space is None else {**inputs, "action": action}

    def chosen(self, values: tf.Tensor, action: Nest) -> tf.Tensor:
        """Of the values `[..., n, combinations]` those of the discrete parts of actions `[..., *shape]`, `[..., n]`."""
        if not self.parts_of_actions.discrete:
            return values
        return chosen(values, tf.broadcast_to(self.parts_of_actions.index(action)[..., None], values.shape[:-1]))

    def policy_at(self, network: keras.Model, data: Nest, following: bool = False) -> Joint:
        """The distribution of actions, `[N, ...]`, of a policy network at the observations of a batch, or at the following."""
        return self.distribution(self.parameters_at(network, data, following))

    def parameters_at(self, network: keras.Model, data: Nest, following: bool = False) -> Nest:
        """The outputs of a policy network's heads, nest `[N, ...]`, at the observations of a batch, or at the following."""
        outputs = network(self.normalize(_observations(data, following)), training=False)
        return keras.tree.lists_to_tuples(outputs["action"])  # files do not preserve the difference

    def priority(self, errors: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """What becomes the priorities `[N]`: the absolute errors `[N]`."""
        return errors

    def mean_of(self, data: Nest) -> Any:
        """Function from numbers `[N]` of a batch to their mean over the rows whose observation counts for the policy."""
        return functools.partial(masked_mean, mask=data.weight > 0.0)

    def after_update(self, data: Nest) -> None:
        """Updates the target network."""
        update(self.target_critic, self.critic, self.now(self.target_update), self.optimizer.iterations)


def _observations(data, following):
    return data.next_observation if following else data.observation


def seeds(data: Nest) -> list[tf.Tensor]:
    """Seeds for what is sampled at the next observations and at the observations, each int32 `[2]`."""
    return tf.unstack(tf.random.split(data.seed, 2))
