"""What `DQN`s that learn a distribution of returns share."""

from typing import ClassVar

import gymnasium
import keras
import tensorflow as tf

from keras_rl_prob.agents.value_based.dqn import DQN
from keras_rl_prob.networks.heads import check_discrete
from keras_rl_prob.ops.masking import masked_mean
from keras_rl_prob.types import Loss, Nest


class DistributionalDQN(DQN):
    """Base class of `DQN`s that learn the distribution of the return of each action, whose mean is the action's value.

    The second of the `network_outputs` describes it, `[B, n, actions]`. Priorities are the losses.
    """

    argument: ClassVar[str]
    """What `krp.networks.q_network` takes for such a network, as a word of an error."""

    def check_network(
        self, network: keras.Model, observation_space: gymnasium.Space, action_space: gymnasium.Space
    ) -> None:
        """Checks in addition that the network has a distribution for each action."""
        super().check_network(network, observation_space, action_space)
        output, what, actions = self.network_outputs[1], self.argument.split("=")[0], check_discrete(action_space)
        shape = tuple(network.output[output].shape)
        if len(shape) != 3 or shape[1] is None or shape[2] != actions:
            raise ValueError(
                f'`network`\'s "{output}" must have the shape [B, {what}, {actions}], as from '
                f"`krp.networks.q_network(env, {self.argument})`. Received: shape={shape}"
            )

    def loss_and_logs(self, data: Nest) -> Loss:
        """The loss for `keras_rl_prob.sources.replay.Transitions`, and a dict of scalars to be reported."""
        self.resample_noise(data.seed)
        learned = self._of(self._outputs(self.network, data.observation), data.action)
        following = self._outputs(self.target_network, data.next_observation)
        judge = self._outputs(self.network, data.next_observation) if self.double else following
        best = tf.argmax(judge["action"], -1, tf.int32)
        losses, value, target = self.distribution_loss(learned, self._of(following, best), data)
        self.keep_errors(data.index, losses)
        mask = data.weight > 0.0
        return masked_mean(data.weight * losses, mask), {
            "q_value": masked_mean(value, mask),
            "td_error": masked_mean(tf.abs(target - value), mask),
        }

    def distribution_loss(
        self, learned: tf.Tensor, following: tf.Tensor, data: Nest
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The losses of a batch.

        Args:
            learned: float32 `[N, n]`, the output of the network for the actions of `data`.
            following: float32 `[N, n]`, that of the target network for the best next actions.
            data: `Transitions`.

        Returns:
            `(losses, values, targets)`, each float32 `[N]`: the last two are the means of the distributions.
        """
        raise NotImplementedError

    def _outputs(self, network, observation):
        return network(self.normalize(observation), training=bool(self.noisy_layers))

    def _of(self, outputs, action):
        """The distributions, float32 `[N, n]`, of actions `[N]`."""
        return tf.cast(tf.gather(outputs[self.network_outputs[1]], action, axis=2, batch_dims=1), tf.float32)
