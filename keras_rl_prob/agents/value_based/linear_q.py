"""Q-learning with a linear model of each action's value, online."""

import keras

from keras_rl_prob import checks, networks
from keras_rl_prob.agents.value_based.base import QLearning
from keras_rl_prob.agents.value_based.exploration import Boltzmann, EpsilonGreedy
from keras_rl_prob.envs.factory import BatchEnv, EnvOrSpaces
from keras_rl_prob.layers import Normalization
from keras_rl_prob.sources import RolloutSource
from keras_rl_prob.sources.online import OnlineSource


@keras.saving.register_keras_serializable("keras_rl_prob")
class LinearQ(QLearning):
    """Q-learning (Watkins 1989) with values that are linear in fixed features, learned online by stochastic gradient descent.

    Every environment step is one gradient step (one Keras step), on half the squared error of

        r + gamma max_a Q(s', a)

    in the order of play; the environments form a batch. The policy that acts is that before the rollout: with
    `rollout_steps=1` each step is learned from before the next one is taken; larger values are faster.

    `compile()` without an optimizer uses `SGD(0.01)`.

    Args:
        network: Functional model for one step: `{"action": QValues((actions,))(values)}`. `None` makes
            `krp.networks.linear_q(env)`, which needs `pip install "keras_rl_prob[linear]"`.
        rollout_steps: Rows collected from each environment before the updates on them.
        discount: Gamma.
        exploration: `EpsilonGreedy` or `Boltzmann`; `None` is `EpsilonGreedy()`.
        huber_delta: Error at which the loss turns from quadratic to linear, or `None` for half the squared error.
        reward_clip: Rewards are clipped to `[-reward_clip, reward_clip]`; `None` for no clipping.
        normalize_observations: Whether observations are normalised by running statistics; the default network does so
            itself, with constant statistics.
        name: Name of the model.

    Raises:
        ValueError: An argument is out of its range, or does not fit the network or the environment.

    Example:
    ```python
    agent = krp.LinearQ(exploration=krp.EpsilonGreedy(0.0))
    agent.compile()
    agent.fit("MountainCar-v0", epochs=10)
    ```
    """

    rollouts_per_epoch = 250
    default_num_envs = 1
    collecting = None

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        rollout_steps: int = 8,
        discount: float = 0.99,
        exploration: EpsilonGreedy | Boltzmann | None = None,
        huber_delta: float | None = None,
        reward_clip: float | None = None,
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
        self.reward_clip = checks.number("reward_clip", reward_clip, above=0.0, none=True)
        self.rollout_steps = checks.integer("rollout_steps", rollout_steps)

    @property
    def exploration_in_use(self) -> EpsilonGreedy | Boltzmann:
        """The exploration."""
        return EpsilonGreedy() if self.exploration is None else self.exploration

    def default_network(self, env: EnvOrSpaces) -> keras.Model:
        """`krp.networks.linear_q`."""
        return networks.linear_q(env)

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """`SGD(0.01)`."""
        return keras.optimizers.SGD(0.01)

    def updates_per_rollout(self, num_envs: int) -> int:
        """`rollout_steps`."""
        return self.rollout_steps

    def make_source(self, env: BatchEnv, seed: int) -> RolloutSource:
        """Rollouts of `env`, row by row."""
        return OnlineSource(self, env, seed)
