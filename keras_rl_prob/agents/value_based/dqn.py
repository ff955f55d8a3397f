"""Deep Q-learning and its family."""

import gymnasium
import keras
import numpy as np
import tensorflow as tf

from keras_rl_prob import networks
from keras_rl_prob.agents.replaying import ReplayingModel
from keras_rl_prob.agents.value_based.base import QLearning
from keras_rl_prob.agents.value_based.exploration import Boltzmann, EpsilonGreedy
from keras_rl_prob.agents.vocabulary import accepts_moved
from keras_rl_prob.envs.factory import EnvOrSpaces
from keras_rl_prob.layers.noisy_dense import noise_kind
from keras_rl_prob.learning.targets import follow, target_of
from keras_rl_prob.ops.temporal_difference import bootstrap_values
from keras_rl_prob.ops.value_rescaling import inverse_rescale, rescale
from keras_rl_prob.replay.settings import ReplaySettings
from keras_rl_prob.sources.stored_rows import frames_of
from keras_rl_prob.types import Nest


@keras.saving.register_keras_serializable("keras_rl_prob")
class DQN(ReplayingModel, QLearning):
    """Deep Q-learning with all that goes with it, each switch on its own or with any other.

    Every `rollout_steps` rows from every environment go into a replay buffer, from which `updates` batches are drawn, each of
    them one gradient step (one Keras step). What is learned is

        R + gamma^m Q_target(s', a'),   R = r_1 + gamma r_2 + ... + gamma^(m-1) r_m

    where `m` is the replay's `n_step`, or fewer steps if the episode ends before; `a'` is the best action by the target
    network, with `double` by the network itself. After a termination the second term is 0; after a truncation it is not, for
    there is the episode's final observation. Layers run in inference mode, all but `NoisyDense`.

    Args:
        network: Functional model for one step: `{"action": QValues((actions,))(values)}`. `None` makes
            `krp.networks.q_network(env, dueling=dueling, noisy=noisy)`.
        rollout_steps: Rows from each environment between one round of updates and the next.
        updates: Gradient steps in such a round.
        discount: Gamma.
        double: Whether the next action is chosen by the network, and only valued by the target network.
        dueling: Whether the default network has a dueling head.
        noisy: Noise on the weights of the default network's Dense layers, which then takes the place of `exploration`:
            `"factorized"`, `"independent"` or `None`.
        exploration: `EpsilonGreedy` or `Boltzmann`. `None` is `EpsilonGreedy()`, and nothing with `noisy`.
        target_update: Gradient steps between two copies of the network to the target network (an integer), or what part
            of the way the target network moves with each gradient step (a float below 1).
        huber_delta: Where the loss turns from quadratic to linear, or `None` for the squared error.
        rescale_values: Whether values are learned on the scale `h(x) = sign(x) (sqrt(|x| + 1) - 1) + 0.001 x`, on which
            large ones are near each other: the target is then `h(R + gamma^m h^-1(Q_target(s', a')))`.
        replay: A `ReplaySettings`: how much of past play is kept, what is drawn from it, over how many steps and how often.
        normalize_observations: Whether numbers in observations are normalised by running statistics.
        name: Name of the model.

    Raises:
        ValueError: An argument is out of its range, or does not fit the network or the environment.

    References:
        Mnih et al., 2015, https://doi.org/10.1038/nature14236; double: https://arxiv.org/abs/1509.06461; dueling:
        https://arxiv.org/abs/1511.06581; noise: https://arxiv.org/abs/1706.10295; priorities:
        https://arxiv.org/abs/1511.05952; scale: https://arxiv.org/abs/1805.11593; all of
        them: https://arxiv.org/abs/1710.02298.

    Example:
    ```python
    agent = krp.DQN(double=True, dueling=True, noisy="factorized", replay=krp.ReplaySettings(n_step=3, prioritized=True))
    agent.compile()
    agent.fit("CartPole-v1", epochs=10)
    ```
    """

    rollouts_per_epoch = 125
    default_num_envs = 8

    @accepts_moved
    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        rollout_steps: int = 8,
        updates: int = 16,
        discount: float = 0.99,
        double: bool = False,
        dueling: bool = False,
        noisy: str | None = None,
        exploration: EpsilonGreedy | Boltzmann | None = None,
        target_update: int | float = 50,
        huber_delta: float | None = 1.0,
        rescale_values: bool = False,
        replay: ReplaySettings = ReplaySettings(),  # noqa: B008 (immutable)
        normalize_observations: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(
            network,
            discount=discount,
            exploration=exploration,
            huber_delta=huber_delta,
            normalize_observations=normalize_observations,
            name=name,
        )
        self.set_replay(rollout_steps, updates, replay)
        if isinstance(target_update, np.generic):
            target_update = target_update.item()
        fraction = isinstance(target_update, float) and 0.0 < target_update < 1.0
        if not (fraction or (isinstance(target_update, int) and target_update >= 1)):
            raise ValueError(
                "`target_update` must be a positive integer, the gradient steps from one copy to the next, or a float "
                f"between 0 and 1, the part of the way at every step. Received: target_update={target_update!r}"
            )
        self.double, self.dueling, self.noisy = double, dueling, noise_kind("noisy", noisy, none=True)
        self.target_update, self.rescale_values = target_update, rescale_values

    def default_network(self, env: EnvOrSpaces) -> keras.Model:
        """`krp.networks.q_network`."""
        return networks.q_network(env, dueling=self.dueling, noisy=self.noisy)

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """`Adam(1e-3, epsilon=1e-5, global_clipnorm=10)`."""
        return keras.optimizers.Adam(1e-3, epsilon=1e-5, global_clipnorm=10.0)

    def check_network(
        self, network: keras.Model, observation_space: gymnasium.Space, action_space: gymnasium.Space
    ) -> None:
        """Checks that observations are stacks of frames if they are said to be, too."""
        super().check_network(network, observation_space, action_space)
        if self.replay.frame_axis is not None:
            frames_of(observation_space, self.replay.frame_axis)

    def build(self, env: EnvOrSpaces) -> None:
        """Adds the target network to what every agent has."""
        super().build(env)
        self.target_network = target_of(self.network)

    def metric_names(self) -> list[str]:
        """Names of the metrics besides `return` and `length`."""
        return [*super().metric_names(), "replay_size"]

    def begin_training(self) -> None:
        """Starts with a target network like the network."""
        self.target_network.set_weights(self.network.get_weights())

    # ---- learning ---------------------------------------------------------------------------------------------

    def _next_value(self, observation):
        online = self._values(self.network, observation) if self.double else None
        return bootstrap_values(self._values(self.target_network, observation), online)

    def target(self, reward: tf.Tensor, discount: tf.Tensor, next_value: tf.Tensor) -> tf.Tensor:
        """What a value is to come to, from what came on the way and the value of what came after."""
        if self.rescale_values:
            return rescale(reward + discount * inverse_rescale(next_value))
        return super().target(reward, discount, next_value)

    def after_update(self, data: Nest) -> None:
        """Brings the target network up to date."""
        if isinstance(self.target_update, int):
            pairs = list(zip(self.target_network.weights, self.network.weights, strict=True))
            due = tf.equal(self.optimizer.iterations % self.target_update, 0)
            tf.cond(due, lambda: [target.assign(online) for target, online in pairs] and None, lambda: None)
        else:
            follow(self.target_network, self.network, self.target_update)
