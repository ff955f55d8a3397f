"""Deep Q-learning and its family."""

import gymnasium
import keras
import tensorflow as tf

from keras_rl_prob import checks, networks
from keras_rl_prob.agents.replaying import ReplayingModel
from keras_rl_prob.agents.value_based.base import QLearning
from keras_rl_prob.agents.value_based.exploration import Boltzmann, EpsilonGreedy
from keras_rl_prob.agents.vocabulary import accepts_moved
from keras_rl_prob.envs.factory import EnvOrSpaces
from keras_rl_prob.layers import Normalization
from keras_rl_prob.layers.noisy_dense import noise_kind
from keras_rl_prob.learning.targets import checked_update, target_of, update
from keras_rl_prob.networks.weights import take_weights
from keras_rl_prob.ops.temporal_difference import bootstrap_values
from keras_rl_prob.ops.value_rescaling import inverse_rescale, rescale
from keras_rl_prob.replay.frames import frames_of
from keras_rl_prob.replay.settings import ReplaySettings
from keras_rl_prob.types import Nest


@keras.saving.register_keras_serializable("keras_rl_prob")
class DQN(ReplayingModel, QLearning):
    """Deep Q-learning with its extensions, which can be combined freely.

    After every `rollout_steps` rows from every environment, which go into a replay buffer, `updates` batches are sampled from
    it, each for one gradient step (one Keras step). The target of `Q(s, a)` is

        R + gamma^m Q_target(s', a'),   R = r_1 + gamma r_2 + ... + gamma^(m-1) r_m

    where `m` is the replay's `n_step`, or fewer steps if the episode ends before; `a'` is the best action according to the
    target network, with `double` according to the network itself. The second term is 0 after a termination; after a truncation
    it uses the final observation of the episode. Layers run in inference mode, except `NoisyDense`.

    Args:
        network: Functional model for one step: `{"action": QValues((actions,))(values)}`. `None` makes
            `krp.networks.q_network(env, dueling=dueling, noisy=noisy)`.
        rollout_steps: Rows collected from each environment between updates.
        updates: Gradient steps after each rollout.
        discount: Gamma.
        double: Whether the next action is selected by the network and only evaluated by the target network.
        dueling: Whether the default network has a dueling head.
        noisy: Noise on the weights of the default network's Dense layers, which replaces `exploration`: `"factorized"`,
            `"independent"` or `None`.
        exploration: `EpsilonGreedy` or `Boltzmann`. `None` means `EpsilonGreedy()`, or no exploration with `noisy`.
        target_update: Gradient steps between copies of the weights to the target network (an integer), or the factor tau of a
            soft update after each gradient step (a float below 1).
        huber_delta: Error at which the loss turns from quadratic to linear, or `None` for half the squared error.
        rescale_values: Whether values are learned on the scale `h(x) = sign(x) (sqrt(|x| + 1) - 1) + 0.001 x`, which
            compresses large ones: the target is then `h(R + gamma^m h^-1(Q_target(s', a')))`.
        replay: A `ReplaySettings`: capacity, batch size, n-step returns, priorities.
        normalize_observations: Whether observations are normalised by running statistics; a `Normalization` sets the clip
            value.
        name: Name of the model.

    Raises:
        ValueError: An argument is out of its range, or does not fit the network or the environment.

    References:
        Mnih et al., 2015, https://doi.org/10.1038/nature14236; double: https://arxiv.org/abs/1509.06461; dueling:
        https://arxiv.org/abs/1511.06581; noise: https://arxiv.org/abs/1706.10295; priorities:
        https://arxiv.org/abs/1511.05952; scale: https://arxiv.org/abs/1805.11593; all combined:
        https://arxiv.org/abs/1710.02298.

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
        normalize_observations: bool | Normalization = False,
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
        self.double, self.dueling = checks.flag("double", double), checks.flag("dueling", dueling)
        self.noisy, self.target_update = noise_kind("noisy", noisy, none=True), checked_update(target_update)
        self.rescale_values = checks.flag("rescale_values", rescale_values)

    def default_network(self, env: EnvOrSpaces) -> keras.Model:
        """`krp.networks.q_network`."""
        return networks.q_network(env, dueling=self.dueling, noisy=self.noisy)

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """`Adam(1e-3, epsilon=1e-5, global_clipnorm=10)`."""
        return keras.optimizers.Adam(1e-3, epsilon=1e-5, global_clipnorm=10.0)

    def check_network(
        self, network: keras.Model, observation_space: gymnasium.Space, action_space: gymnasium.Space
    ) -> None:
        """Checks in addition that observations are stacks of frames if `frame_axis` is given."""
        super().check_network(network, observation_space, action_space)
        if self.replay.frame_axis is not None:
            frames_of(observation_space, self.replay.frame_axis)

    def build(self, env: EnvOrSpaces) -> None:
        """Creates the target network besides what every agent has."""
        super().build(env)
        self.target_network = target_of(self.network)

    def metric_names(self) -> list[str]:
        """Names of the metrics besides `return` and `length`."""
        return [*super().metric_names(), "replay_size"]

    def begin_training(self) -> None:
        """Copies the weights to the target network."""
        take_weights(self.target_network, self.network)

    # ---- learning ---------------------------------------------------------------------------------------------

    def _next_value(self, observation):
        online = self._values(self.network, observation) if self.double else None
        return bootstrap_values(self._values(self.target_network, observation), online)

    def target(self, reward: tf.Tensor, discount: tf.Tensor, next_value: tf.Tensor) -> tf.Tensor:
        """The target of a value, rescaled if `rescale_values`; each argument of the same shape."""
        if self.rescale_values:
            return rescale(reward + discount * inverse_rescale(next_value))
        return super().target(reward, discount, next_value)

    def after_update(self, data: Nest) -> None:
        """Updates the target network."""
        update(self.target_network, self.network, self.now(self.target_update), self.optimizer.iterations)
