"""Deep Q-learning of the distribution of returns over fixed values."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import keras
import tensorflow as tf

from keras_rl_prob import checks, networks
from keras_rl_prob.agents.value_based.distributional import DistributionalDQN
from keras_rl_prob.agents.value_based.exploration import Boltzmann, EpsilonGreedy
from keras_rl_prob.envs.factory import EnvOrSpaces
from keras_rl_prob.keras_internals import layer_behind
from keras_rl_prob.layers import CategoricalQValues, Normalization
from keras_rl_prob.layers.q_values import checked_value_bounds
from keras_rl_prob.ops.temporal_difference import categorical_projection
from keras_rl_prob.replay.settings import ReplaySettings
from keras_rl_prob.types import Nest


@keras.saving.register_keras_serializable("keras_rl_prob")
class C51(DistributionalDQN):
    """`DQN` that learns the probabilities of fixed values (atoms) of the return of each action, whose value is the mean.

    The next best action `a'` has the probabilities `p_target_j(s', a')` of the atoms `z_j`. They become those of

        y_j = R + gamma^m z_j,

    each as in `DQN`, and are projected onto the atoms, `m = krp.ops.categorical_projection(p_target, y, z)`. The loss is the
    divergence `sum_i m_i (log m_i - log p_i(s, a))`, whose gradient is that of the cross-entropy. All extensions of `DQN` can
    be combined with it; there is no `huber_delta`. Priorities are the losses.

    Args:
        network: Functional model for one step: `{"action": CategoricalQValues((actions,), bounds)(logits), "logits": logits}`
            with logits `[B, atoms, actions]`. `None` makes
            `krp.networks.q_network(env, dueling=dueling, noisy=noisy, atoms=atoms, value_bounds=value_bounds)`.
        atoms: Number of atoms of the default network, at least 2.
        value_bounds: The lowest and the highest atom of the default network, two numbers: values beyond them cannot be learned.
            Discounted returns of rewards from -1 to 1 are within plus and minus `1 / (1 - discount)`.
        rollout_steps: As in `DQN`, as are all that follow.
        updates: Gradient steps after each rollout.
        discount: Gamma.
        double: Whether the next action is selected by the network and only evaluated by the target network.
        dueling: Whether the default network has a dueling head.
        noisy: Noise on the weights of the default network's Dense layers: `"factorized"`, `"independent"` or `None`.
        exploration: `EpsilonGreedy` or `Boltzmann`; `None` means `EpsilonGreedy()`, or no exploration with `noisy`.
        target_update: Gradient steps between copies of the weights to the target network, or the factor of a soft update.
        rescale_values: Whether the atoms are values on the scale of `DQN`, which compresses large ones.
        replay: A `ReplaySettings`.
        normalize_observations: Whether observations are normalised by running statistics.
        name: Name of the model.

    Raises:
        ValueError: An argument is out of its range, or does not fit the network or the environment.

    References:
        Bellemare et al., "A distributional perspective on reinforcement learning", 2017, https://arxiv.org/abs/1707.06887.

    Example:
    ```python
    agent = krp.C51(value_bounds=(0.0, 100.0), double=True)
    agent.compile()
    agent.fit("CartPole-v1", epochs=10)
    ```
    """

    network_outputs = ("action", "logits")
    argument = "atoms=51"

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        atoms: int = 51,
        value_bounds: Sequence[float] = (-10.0, 10.0),
        rollout_steps: int = 8,
        updates: int = 16,
        discount: float = 0.99,
        double: bool = False,
        dueling: bool = False,
        noisy: str | None = None,
        exploration: EpsilonGreedy | Boltzmann | None = None,
        target_update: int | float = 50,
        rescale_values: bool = False,
        replay: ReplaySettings = ReplaySettings(),  # noqa: B008 (immutable)
        normalize_observations: bool | Normalization = False,
        name: str | None = None,
    ) -> None:
        super().__init__(
            network,
            rollout_steps=rollout_steps,
            updates=updates,
            discount=discount,
            double=double,
            dueling=dueling,
            noisy=noisy,
            exploration=exploration,
            target_update=target_update,
            rescale_values=rescale_values,
            replay=replay,
            normalize_observations=normalize_observations,
            name=name,
        )
        self.atoms = checks.integer("atoms", atoms, least=2)
        self.value_bounds = checked_value_bounds("value_bounds", value_bounds)

    def default_network(self, env: EnvOrSpaces) -> keras.Model:
        """`krp.networks.q_network` with atoms."""
        options: dict[str, Any] = {"atoms": self.atoms, "value_bounds": self.value_bounds}
        return networks.q_network(env, dueling=self.dueling, noisy=self.noisy, **options)

    def check_network(
        self, network: keras.Model, observation_space: gymnasium.Space, action_space: gymnasium.Space
    ) -> None:
        """Checks in addition that the values are means over atoms."""
        super().check_network(network, observation_space, action_space)
        head = layer_behind(network.output["action"])
        if not isinstance(head, CategoricalQValues):
            raise ValueError(
                '`network`\'s "action" must be means over atoms for C51: `krp.layers.CategoricalQValues((actions,), bounds)('
                f"logits)`, as from `krp.networks.q_network(env, atoms=51)`. Received: {type(head).__name__} {head.name!r}"
            )

    def distribution_loss(
        self, learned: tf.Tensor, following: tf.Tensor, data: Nest
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The divergence, and the means of both distributions, from the logits `[N, atoms]`."""
        support = tf.constant(layer_behind(self.network.output["action"]).support(learned.shape[-1]))
        values = self.target(data.reward[:, None], data.discount[:, None], support[None])
        self.check_target(following, values)
        target = tf.stop_gradient(categorical_projection(tf.nn.softmax(following), values, support))
        cross_entropy = tf.nn.softmax_cross_entropy_with_logits(target, learned)
        losses = cross_entropy + tf.reduce_sum(tf.math.xlogy(target, target), -1)
        return losses, tf.reduce_sum(tf.nn.softmax(learned) * support, -1), tf.reduce_sum(target * support, -1)
