"""Twin delayed deep deterministic policy gradient."""

import gymnasium
import keras
import tensorflow as tf

from keras_rl_prob import checks, networks, spaces
from keras_rl_prob.agents.actor_critic.base import ReplayedActorCritic, seeds
from keras_rl_prob.agents.actor_critic.critics import encoder_of
from keras_rl_prob.envs.factory import EnvOrSpaces
from keras_rl_prob.layers import Normalization
from keras_rl_prob.learning.parts import Part
from keras_rl_prob.learning.targets import target_of, update
from keras_rl_prob.networks.critics import check_bounded
from keras_rl_prob.networks.weights import take_weights
from keras_rl_prob.replay.settings import ReplaySettings
from keras_rl_prob.types import Loss, Nest


@keras.saving.register_keras_serializable("keras_rl_prob")
class TD3(ReplayedActorCritic):
    """TD3: learns deterministic, continuous actions from a replay buffer. DDPG with `policy_period=1, target_noise=0.0`.

    After every `rollout_steps` rows from every environment, which go into a replay buffer, `updates` batches are sampled from
    it, each for one gradient step (one Keras step). The critics `Q_i` learn

        y = R + gamma^m min_i Q_target_i(s', a'),   a' = clip(mu_target(s') + clip(e, -noise_clip, noise_clip), low, high)

    by half the squared error, where `R` and `m` are those of `krp.DQN` and `e` is normal with the standard deviation
    `target_noise`. The policy `mu`, the mode of the network's distribution, is updated in every `policy_period`-th gradient
    step, and minimises the mean of `-Q_1(s, mu(s))`; then the target networks follow. While it collects, the agent takes
    samples of the network's distribution: `krp.networks.deterministic_actor` adds normal noise with a fixed standard deviation.

    Args:
        network: Functional model for one step: `{"action": head(x)}`. `None` makes `krp.networks.deterministic_actor(env)`.
        critic: Functional model from `{"observation": ..., "action": ...}` to the values of several critics `[B, n]`. `None`
            makes `krp.networks.critic(env)`, two of them; DDPG has one.
        rollout_steps: Rows collected from each environment between updates.
        updates: Gradient steps after each rollout. The default is one for each of the rows from 8 environments.
        discount: Gamma.
        policy_period: Gradient steps of the critics per gradient step of the policy and update of the target networks.
        target_noise: Standard deviation of the noise on the target policy's actions, in units of half their range.
        noise_clip: Bound of that noise, in the same units.
        target_update: Part of the way that target networks go towards their networks, a float below 1; or the gradient steps
            from one copy to the next, an integer.
        replay: A `ReplaySettings`: capacity, batch size, n-step returns, priorities.
        normalize_observations: Whether observations are normalised by running statistics; a `Normalization` sets the clip.
        name: Name of the model.

    Attributes:
        target_network: The policy that follows `network` slowly.

    Raises:
        ValueError: An argument is out of its range, or does not fit a network or the environment.

    References:
        Fujimoto et al., "Addressing function approximation error in actor-critic methods", 2018,
        https://arxiv.org/abs/1802.09477; DDPG: Lillicrap et al., 2016, https://arxiv.org/abs/1509.02971.

    Example:
    ```python
    agent = krp.TD3(discount=0.95)
    agent.compile(keras.optimizers.Adam(1e-3))
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
        policy_period: int = 2,
        target_noise: float = 0.2,
        noise_clip: float = 0.5,
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
        self.policy_period = checks.integer("policy_period", policy_period)
        self.target_noise = checks.number("target_noise", target_noise, 0.0)
        self.noise_clip = checks.number("noise_clip", noise_clip, 0.0)

    def default_network(self, env: EnvOrSpaces) -> keras.Model:
        """`krp.networks.deterministic_actor`."""
        return networks.deterministic_actor(env, encoder=encoder_of(self.critic))

    def check_network(
        self, network: keras.Model, observation_space: gymnasium.Space, action_space: gymnasium.Space
    ) -> None:
        """Checks in addition that actions have bounds."""
        check_bounded(action_space)
        super().check_network(network, observation_space, action_space)

    def build(self, env: EnvOrSpaces) -> None:
        """Creates the target networks besides what every agent has."""
        super().build(env)
        self.target_network = target_of(self.network)

    def begin_training(self) -> None:
        """Copies the weights to the target networks."""
        super().begin_training()
        take_weights(self.target_network, self.network)

    # ---- learning ---------------------------------------------------------------------------------------------

    def parts(self) -> list[Part]:
        """The critics, then the policy."""
        critic, actor = super().parts()
        return [critic, actor._replace(period=self.policy_period)]

    def next_value(self, data: Nest) -> tf.Tensor:
        """Values of the next observations, `[N]`."""
        action = self.environment_action(self.policy_at(self.target_network, data, following=True).mode())
        if self.target_noise > 0.0:
            action = self.smoothed(action, seeds(data)[0])
        return tf.reduce_min(self.values(self.target_critic, data, action, following=True), -1)

    def actor_loss(self, data: Nest) -> Loss:
        """The loss of the policy, and a dict of scalars to be reported."""
        action = self.environment_action(self.policy_at(self.network, data).mode())
        return -self.mean_of(data)(self.values(self.critic, data, action)[..., 0]), {}

    def smoothed(self, action: Nest, seed: tf.Tensor) -> Nest:
        """Actions, nest `[N, ...]`, with bounded noise, within the bounds of their space; `seed`: int32 `[2]`."""
        leaves, clip = keras.tree.flatten(action), self.now(self.noise_clip)
        noisy = []
        for leaf, x, key in zip(
            spaces.leaves(self.action_space), leaves, tf.unstack(tf.random.split(seed, len(leaves))), strict=True
        ):
            half = tf.cast(0.5 * (leaf.high - leaf.low), x.dtype)
            noise = tf.random.stateless_normal(tf.shape(x), key, 0.0, self.now(self.target_noise), x.dtype)
            noisy.append(x + half * tf.clip_by_value(noise, -clip, clip))
        return spaces.clip(self.action_space, keras.tree.pack_sequence_as(action, noisy))

    def after_update(self, data: Nest) -> None:
        """Moves the target networks after each update of the policy, or copies at the gradient steps of `target_update`."""
        period = 1 if isinstance(self.target_update, int) else self.policy_period

        def follow():
            for target, network in ((self.target_critic, self.critic), (self.target_network, self.network)):
                update(target, network, self.now(self.target_update), self.optimizer.iterations)

        tf.cond(tf.equal(self.optimizer.iterations % period, 0), follow, lambda: None)
