"""What actor-critics with memory have in place of those without: sequences, and networks that run over them."""

import functools
from typing import Any, ClassVar

import gymnasium
import keras
import tensorflow as tf

from keras_rl_prob import checks, networks
from keras_rl_prob.agents.actor_critic.critics import check_memory_without_action, encoder_of
from keras_rl_prob.agents.network_checks import check_has_memory
from keras_rl_prob.envs.factory import BatchEnv, EnvOrSpaces
from keras_rl_prob.layers import Unrolled
from keras_rl_prob.ops.masking import masked_mean
from keras_rl_prob.replay.settings import SequenceReplaySettings
from keras_rl_prob.sources.sequences import SequenceSource, n_step_targets
from keras_rl_prob.types import Mixin, Nest


class RecurrentActorCritic(Mixin):
    """A `ReplayedActorCritic` that learns from `StoredSequences`; a subclass names it before its other base class.

    Policy and critics have memories of their own. That of the policy starts from the state that was stored with the sequence,
    that of the critics from zeros; both read the burn-in first. All losses are over the rows `[L + n, N]` after it, where `L`
    is `sequence_length` and `n` is `n_step`, those of the critics over the first `L`.
    """

    critic: Any
    network: Any
    parts_of_actions: Any
    replay: Any

    wants_memory = True
    without_memory: str
    """Name of the agent for networks without memory."""

    settings_classes: ClassVar = {"replay": SequenceReplaySettings}

    def __init__(
        self,
        network: keras.Model | None = None,
        critic: keras.Model | None = None,
        *,
        rollout_steps: int = 10,
        updates: int = 20,
        replay: SequenceReplaySettings = SequenceReplaySettings(n_step=1, prioritized=False),  # noqa: B008 (immutable)
        previous_action_and_reward: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(network, critic, rollout_steps=rollout_steps, updates=updates, replay=replay, **kwargs)
        self.previous_action_and_reward = checks.flag("previous_action_and_reward", previous_action_and_reward)

    def check_network(
        self, network: keras.Model, observation_space: gymnasium.Space, action_space: gymnasium.Space
    ) -> None:
        """Checks in addition that network and critic have memory, and that the critic's memory does not depend on actions."""
        super().check_network(network, observation_space, action_space)
        check_has_memory(network, type(self).__name__, self.without_memory)
        if self.critic is not None:
            check_has_memory(self.critic, type(self).__name__, self.without_memory, argument="critic")
            check_memory_without_action(self.critic)

    def build_networks(self, env: EnvOrSpaces) -> None:
        """Creates critics with an LSTM, if the constructor was given none."""
        if self.critic is None:
            self.critic = networks.critic(env, (128, 128), cell="lstm", encoder=encoder_of(self.network))

    def build(self, env: EnvOrSpaces) -> None:
        """Prepares all networks for sequences besides what every agent has."""
        super().build(env)
        models = [self.network, self.critic, self.target_critic, getattr(self, "target_network", None)]
        self._runs = {id(model): Unrolled(model) for model in models if model is not None}

    def _make_source(self, env: BatchEnv, seed: int) -> SequenceSource:
        return SequenceSource(self, env, seed, self.replay)

    def values_and_targets(self, data: Nest) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The critics' values `[L, N, n]`, what they are to be, `[L, N]`, and which rows count, bool `[L, N]`."""
        action = self.environment_action(self._after_burn_in(data.action))
        values = self.values(self.critic, data, self.parts_of_actions.continuous(action))
        values = self.chosen(values, action)[: self.replay.sequence_length]
        reward, discount, next_value, counted = n_step_targets(
            data, self.next_value(data), self.now(self.discount), self.replay
        )
        return values, reward + discount * next_value, counted

    def values(self, critic: keras.Model, data: Nest, action: Nest, following: bool = False) -> tf.Tensor:
        """Values that critics give the continuous parts of actions, nests `[L + n, N, ...]`, at the rows of sequences.

        Args:
            critic: `self.critic` or `self.target_critic`.
            data: `StoredSequences`.
            action: Nest `[L + n, N, ...]`, as the environment takes it.
            following: Not used: the next observations are rows.

        Returns:
            float32 `[L + n, N, n_critics]`, or `[L + n, N, n_critics, combinations]` if there are discrete parts.
        """
        before = self.environment_action(tf.nest.map_structure(lambda x: x[: self.replay.burn_in], data.action))
        before = self.parts_of_actions.continuous(before)
        action = tf.nest.map_structure(lambda x, y: tf.concat([tf.cast(x, y.dtype), y], 0), before, action)
        inputs = self.critic_inputs(data.observation, action)
        return tf.cast(self._run(critic, inputs, data, None, training=True), tf.float32)

    def parameters_at(self, network: keras.Model, data: Nest, following: bool = False) -> Nest:
        """The outputs of a policy network's heads, nest `[L + n, N, ...]`, at the rows of sequences."""
        return self._run(network, self.normalize(data.observation), data, data.state)["action"]

    def priority(self, errors: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """What becomes the priorities `[N]` of sequences."""
        return self.replay.priority(errors, tf.cast(mask, errors.dtype))

    def mean_of(self, data: Nest) -> Any:
        """Function from numbers `[L + n, N]` to their mean over the rows that are not final observations."""
        return functools.partial(masked_mean, mask=self._after_burn_in(data.valid))

    def _run(self, model, inputs, data, state, training=False):
        """Outputs `[L + n, N, ...]` of a network; its memory starts from `state`, or from zeros for `None`."""
        run = self._runs[id(model)]
        state = run.initial_state(data.is_first.shape[1]) if state is None else state
        return run.after_burn_in(inputs, data.is_first, state, self.replay.burn_in, training)

    def _after_burn_in(self, rows):
        return tf.nest.map_structure(lambda x: x[self.replay.burn_in :], rows)
