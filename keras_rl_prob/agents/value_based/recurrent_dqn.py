"""Recurrent deep Q-learning (R2D2)."""

from typing import Any, ClassVar

import gymnasium
import keras
import tensorflow as tf

from keras_rl_prob import checks, networks
from keras_rl_prob.agents.network_checks import check_has_memory
from keras_rl_prob.agents.value_based.dqn import DQN
from keras_rl_prob.agents.vocabulary import accepts_moved
from keras_rl_prob.envs.factory import EnvOrSpaces
from keras_rl_prob.layers import Unrolled
from keras_rl_prob.ops.temporal_difference import bootstrap_values, chosen, huber
from keras_rl_prob.replay.settings import SequenceReplaySettings
from keras_rl_prob.sources.sequences import SequenceSource, n_step_targets
from keras_rl_prob.types import Loss, Nest


@keras.saving.register_keras_serializable("keras_rl_prob")
class RecurrentDQN(DQN):
    """`DQN` for networks with memory, as in R2D2.

    The replay buffer holds sequences (`SequenceReplaySettings`) with the recurrent state at their start; their first rows
    (the burn-in) only update that state, for the network and for the target network. Sequences may span episodes, since the
    state is reset where an episode starts. Values are learned on the scale `h(x) = sign(x) (sqrt(|x| + 1) - 1) + 0.001 x`:

        h(R + gamma^m h^-1(Q_target(s', a')))

    Args:
        network: Functional model for one step with a `StatefulRNN`: `{"action": QValues((actions,))(values)}`. `None` makes
            `krp.networks.q_network(env, (64, 64), cell="lstm", dueling=dueling, noisy=noisy)`.
        rollout_steps: As in `DQN`; a multiple of the replay's `period`.
        updates: As in `DQN`.
        double: As in `DQN`.
        rescale_values: As in `DQN`.
        replay: A `SequenceReplaySettings`.
        previous_action_and_reward: Whether the network also sees the action and the reward before each observation, see
            `krp.envs.with_previous_step`.
        **kwargs: The other arguments of `DQN`.

    Raises:
        ValueError: An argument is out of its range, or does not fit the network or the environment.

    References:
        Kapturowski et al., "Recurrent experience replay in distributed reinforcement learning", 2019,
        https://openreview.net/forum?id=r1lyTjAqYX.

    Example:
    ```python
    agent = krp.RecurrentDQN()
    agent.compile()
    agent.fit("krp/CartPoleNoVel-v1", epochs=10)
    ```
    """

    wants_memory = True
    settings_classes: ClassVar = {"replay": SequenceReplaySettings}

    @accepts_moved
    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        rollout_steps: int = 10,
        updates: int = 4,
        double: bool = True,
        rescale_values: bool = True,
        replay: SequenceReplaySettings = SequenceReplaySettings(),  # noqa: B008 (immutable)
        previous_action_and_reward: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            network,
            rollout_steps=rollout_steps,
            updates=updates,
            double=double,
            rescale_values=rescale_values,
            replay=replay,
            **kwargs,
        )
        self.previous_action_and_reward = checks.flag("previous_action_and_reward", previous_action_and_reward)

    def default_network(self, env: EnvOrSpaces) -> keras.Model:
        """`krp.networks.q_network` with an LSTM."""
        return networks.q_network(env, (64, 64), cell="lstm", dueling=self.dueling, noisy=self.noisy)

    def check_network(
        self, network: keras.Model, observation_space: gymnasium.Space, action_space: gymnasium.Space
    ) -> None:
        """Checks in addition that the network has memory."""
        super().check_network(network, observation_space, action_space)
        check_has_memory(network, "RecurrentDQN", "DQN")

    def build(self, env: EnvOrSpaces) -> None:
        """Prepares the target network for sequences besides what `DQN` builds."""
        super().build(env)
        self._target_unrolled = Unrolled(self.target_network)

    def _make_source(self, env, seed):
        return SequenceSource(self, env, seed, self.replay)

    def loss_and_logs(self, data: Nest) -> Loss:
        """The loss for `keras_rl_prob.sources.sequences.StoredSequences`, and a dict of scalars to be reported."""
        self.resample_noise(data.seed)
        online = self._values_of(self._unrolled, data)  # [L + n, N, actions]
        values = bootstrap_values(self._values_of(self._target_unrolled, data), online if self.double else None)
        reward, discount, next_value, counted = n_step_targets(data, values, self.now(self.discount), self.replay)
        target = tf.stop_gradient(self.target(reward, discount, next_value))
        length, start = self.replay.sequence_length, self.replay.burn_in
        value = chosen(online[:length], data.action[start : start + length])
        return self._loss_of_sequences(data, value, target, tf.cast(counted, tf.float32))

    def _values_of(self, unrolled, data):
        """Values `[L + n, N, actions]` of the rows after the burn-in."""
        observation, noisy = self.normalize(data.observation), bool(self.noisy_layers)
        outputs = unrolled.after_burn_in(observation, data.is_first, data.state, self.replay.burn_in, training=noisy)
        return outputs["action"]

    def _loss_of_sequences(self, data, value, target, counted):
        """Mean of the loss over the rows `[L, N]` that count, and scalars to be reported; the errors become priorities."""
        self.check_target(value, target)
        error = counted * (target - value)
        size, count = tf.abs(error), tf.maximum(tf.reduce_sum(counted), 1.0)
        self.keep_errors(data.index, self.replay.priority(size, counted))
        loss = tf.reduce_sum(data.weight * huber(error, self.now(self.huber_delta))) / count
        return loss, {"q_value": tf.reduce_sum(counted * value) / count, "td_error": tf.reduce_sum(size) / count}
