"""Deep Q-learning and its family."""

import math

import keras
import numpy as np
import tensorflow as tf

from keras_rl_prob import checks, networks
from keras_rl_prob.agents.value_based.base import QLearning
from keras_rl_prob.layers import NoisyDense
from keras_rl_prob.layers.noisy_dense import KINDS
from keras_rl_prob.ops.temporal_difference import bootstrap_values
from keras_rl_prob.ops.value_rescaling import inverse_rescale, rescale
from keras_rl_prob.replay.settings import PrioritizedReplay
from keras_rl_prob.sources.episodes import checked_episodes
from keras_rl_prob.sources.replay import ReplaySource
from keras_rl_prob.sources.stored_rows import frames_of


@keras.saving.register_keras_serializable("keras_rl_prob")
class DQN(QLearning):
    """Deep Q-learning with all that goes with it, each switch on its own or with any other.

    Every `rollout_steps` rows from every environment go into a replay buffer, from which `updates` batches are drawn, each of
    them one gradient step (one Keras step). What is learned is

        R + gamma^m Q_target(s', a'),   R = r_1 + gamma r_2 + ... + gamma^(m-1) r_m

    where `m` is `n_step`, or fewer steps if the episode ends before; `a'` is the best action by the target network, with
    `double` by the network itself. After a termination the second term is 0; after a truncation it is not, for there is the
    episode's final observation. Layers run in inference mode, all but `NoisyDense`.

    Args:
        network: Functional model for one step: `{"action": QValues((actions,))(values)}`. `None` makes
            `krp.networks.q_network(env, dueling=dueling, noisy=noisy)`.
        rollout_steps: Rows from each environment between one round of updates and the next.
        updates: Gradient steps in such a round.
        batch_size: Transitions of a gradient step.
        capacity: Transitions in the replay buffer, of all environments together.
        learning_starts: Transitions that are collected before the first update.
        discount: Gamma.
        n_step: Steps of reward before the bootstrap.
        double: Whether the next action is chosen by the network, and only valued by the target network.
        dueling: Whether the default network has a dueling head.
        noisy: Noise on the weights of the default network's Dense layers, which then takes the place of `exploration`:
            `"factorised"`, `"independent"` or `None`.
        prioritized: Whether transitions are drawn by their TD errors; a `PrioritizedReplay` for other numbers than its
            defaults. New priorities count from the next rollout on.
        exploration: `EpsilonGreedy` or `Boltzmann`. `None` is `EpsilonGreedy()`, and nothing with `noisy`.
        target_update: Gradient steps between two copies of the network to the target network (an integer), or what part
            of the way the target network moves with each gradient step (a float below 1).
        huber_delta: Where the loss turns from quadratic to linear, or `None` for the squared error.
        rescale_values: Whether values are learned on the scale `h(x) = sign(x) (sqrt(|x| + 1) - 1) + 0.001 x`, on which
            large ones are near each other: the target is then `h(R + gamma^m h^-1(Q_target(s', a')))`.
        reward_clip: Rewards are clipped to plus and minus this, or `None`.
        online_updates: Whether the first batch on each rollout is its newest transitions instead of drawn ones.
        poisson_updates: Whether the number of gradient steps on a rollout is drawn from a Poisson distribution with
            mean `updates`. Keras counts `updates` steps all the same.
        frame_axis: Axis along which observations are stacks of the last frames, as from Gymnasium's
            `FrameStackObservation` (0), or `None`. The replay buffer then holds each frame once.
        normalize_observations: Whether numbers in observations are normalised by running statistics.
        checkpoint_replay: Whether the replay buffer is part of what is saved, which an exact resume needs.
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
    agent = krp.DQN(double=True, dueling=True, n_step=3, noisy="factorised", prioritized=True)
    agent.compile()
    agent.fit("CartPole-v1", epochs=10)
    ```
    """

    rollouts_per_epoch = 125
    default_num_envs = 8

    def __init__(
        self,
        network=None,
        *,
        rollout_steps=8,
        updates=16,
        batch_size=128,
        capacity=100_000,
        learning_starts=1_000,
        discount=0.99,
        n_step=1,
        double=False,
        dueling=False,
        noisy=None,
        prioritized=False,
        exploration=None,
        target_update=50,
        huber_delta=1.0,
        rescale_values=False,
        reward_clip=None,
        online_updates=False,
        poisson_updates=False,
        frame_axis=None,
        normalize_observations=False,
        checkpoint_replay=True,
        name=None,
    ):
        super().__init__(
            network,
            discount=discount,
            exploration=exploration,
            huber_delta=huber_delta,
            reward_clip=reward_clip,
            normalize_observations=normalize_observations,
            name=name,
        )
        numbers = {
            "rollout_steps": rollout_steps,
            "updates": updates,
            "batch_size": batch_size,
            "capacity": capacity,
            "n_step": n_step,
        }
        for argument, value in numbers.items():
            setattr(self, argument, checks.integer(argument, value))
        if capacity < batch_size:
            raise ValueError(
                f"`capacity` must be at least `batch_size`. Received: capacity={capacity}, batch_size={batch_size}"
            )
        if n_step >= capacity:
            raise ValueError(f"`n_step` must be below `capacity`. Received: n_step={n_step}, capacity={capacity}")
        if isinstance(target_update, np.generic):
            target_update = target_update.item()
        fraction = isinstance(target_update, float) and 0.0 < target_update < 1.0
        if not (fraction or (isinstance(target_update, int) and target_update >= 1)):
            raise ValueError(
                "`target_update` must be a positive integer, the gradient steps from one copy to the next, or a float "
                "between 0 "
                f"and 1, the part of the way at every step. Received: target_update={target_update!r}"
            )
        if noisy not in (None, *KINDS) or isinstance(noisy, bool):
            raise ValueError(f"`noisy` must be one of {list(KINDS)}, or `None`. Received: noisy={noisy!r}")
        frame_axis = checks.integer("frame_axis", frame_axis, least=0, none=True)
        self.learning_starts = checks.integer("learning_starts", learning_starts, least=0)
        self.double, self.dueling, self.noisy = double, dueling, noisy
        if not isinstance(prioritized, bool):
            checks.instance("prioritized", prioritized, (PrioritizedReplay,), none=False)
        self.prioritized, self.target_update, self.rescale_values = prioritized, target_update, rescale_values
        self.online_updates, self.poisson_updates = online_updates, poisson_updates
        self.frame_axis, self.checkpoint_replay = frame_axis, checkpoint_replay
        self.experience = []

    def get_config(self):
        """The constructor's arguments."""
        names = (
            "rollout_steps", "updates", "batch_size", "capacity", "learning_starts", "n_step", "double", "dueling", "noisy",
            "target_update", "rescale_values", "online_updates", "poisson_updates", "frame_axis", "checkpoint_replay",
        )  # fmt: skip
        config = {name: getattr(self, name) for name in names}
        return super().get_config() | config | {"prioritized": keras.saving.serialize_keras_object(self.prioritized)}

    def default_network(self, env):
        """`krp.networks.q_network`."""
        return networks.q_network(env, dueling=self.dueling, noisy=self.noisy)

    def default_optimizer(self):
        """`Adam(1e-3, epsilon=1e-5, global_clipnorm=10)`."""
        return keras.optimizers.Adam(1e-3, epsilon=1e-5, global_clipnorm=10.0)

    def check_network(self, network, observation_space, action_space):
        """Checks that observations are stacks of frames if they are said to be, too."""
        super().check_network(network, observation_space, action_space)
        if self.frame_axis is not None:
            frames_of(observation_space, self.frame_axis)

    def build(self, env):
        """Adds the target network to what every agent has."""
        super().build(env)
        self.frames = None if self.frame_axis is None else frames_of(self.observation_space, self.frame_axis)
        self.target_network = keras.models.clone_model(self.network)
        self.target_network.trainable = False
        self.target_network.set_weights(self.network.get_weights())
        if self.prioritized:
            shape = (self.draws_per_rollout, self.batch_size)
            self.td_errors = self.add_number("td_errors", shape=shape)

    @property
    def prioritized_replay(self):
        """The `PrioritizedReplay` in use."""
        return self.prioritized if isinstance(self.prioritized, PrioritizedReplay) else PrioritizedReplay()

    def metric_names(self):
        """Names of the metrics besides `return` and `length`."""
        return [*super().metric_names(), "replay_size"]

    # ---- noise ------------------------------------------------------------------------------------------------

    @property
    def noisy_layers(self):
        """Those of the network and of the target network."""
        target = [layer for layer in self.target_network._flatten_layers() if isinstance(layer, NoisyDense)]
        return [*super().noisy_layers, *target]

    # ---- from rollouts to transitions -------------------------------------------------------------------------

    def updates_per_rollout(self, num_envs):
        """`updates`."""
        return self.updates

    @property
    def draws_per_rollout(self):
        """The most gradient steps that there can be on a rollout."""
        return self.updates + (math.ceil(4 * self.updates**0.5) if self.poisson_updates else 0)

    def make_source(self, env, seed):
        """Rollouts of `env` through the replay buffer, which starts with what `add_experience` was given."""
        source = self._make_source(env, seed)
        if self.experience:
            source.load(self.experience)
        return source

    def _make_source(self, env, seed):
        return ReplaySource(self, env, seed, window=self.n_step + 1)

    def add_experience(self, episodes):
        """Adds recorded episodes, with which the replay buffer of every new training starts; they are not saved with the agent.

        Args:
            episodes: Iterable of `Episode`s, as from `krp.envs.record_episodes`, or of objects or dicts with its
                fields, such as Minari's `dataset.iterate_episodes()`.
        """
        self.experience = [*self.experience, *checked_episodes(episodes)]

    def begin_training(self):
        """Starts with a target network like the network."""
        self.target_network.set_weights(self.network.get_weights())

    # ---- learning ---------------------------------------------------------------------------------------------

    def _next_value(self, observation):
        online = self._values(self.network, observation) if self.double else None
        return bootstrap_values(self._values(self.target_network, observation), online)

    def target(self, reward, discount, next_value):
        """What a value is to come to, from what came on the way and the value of what came after."""
        if self.rescale_values:
            return rescale(reward + discount * inverse_rescale(next_value))
        return super().target(reward, discount, next_value)

    def keep_errors(self, index, errors):
        """Keeps the absolute errors `[N]` of update `index` for the replay buffer."""
        if self.prioritized:
            self.td_errors.assign(tf.tensor_scatter_nd_update(self.td_errors, [[index]], [errors]))

    def after_update(self, data):
        """Brings the target network up to date."""
        pairs = list(zip(self.target_network.weights, self.network.weights, strict=True))
        if isinstance(self.target_update, int):
            due = tf.equal(self.optimizer.iterations % self.target_update, 0)
            tf.cond(due, lambda: [target.assign(online) for target, online in pairs] and None, lambda: None)
        else:
            for target, online in pairs:
                if keras.backend.is_float_dtype(target.dtype):
                    target.assign(target + self.target_update * (online - target))
