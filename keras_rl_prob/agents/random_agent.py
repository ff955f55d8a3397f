"""An agent that acts at random: the baseline of every comparison."""

import keras
import tensorflow as tf

from keras_rl_prob import border, checks, masks, networks, spaces
from keras_rl_prob.agents.agent import Agent
from keras_rl_prob.envs.factory import BatchEnv, EnvOrSpaces
from keras_rl_prob.sources import RolloutSource
from keras_rl_prob.sources.play import PlaySource
from keras_rl_prob.types import Loss, Nest


@keras.saving.register_keras_serializable("keras_rl_prob")
class RandomAgent(Agent):
    """Random actions, uniform where an action is bounded and standard normal where it is not; it does not learn.

    Where the observation has an `"action_mask"` for the action space, only allowed actions are drawn.

    A baseline for other agents, with the same `fit` and `evaluate`. Its network only gives the structure of the actions;
    `deterministic` makes no difference.

    Args:
        network: Functional model as of the other agents, or `None`.
        rollout_steps: Rows from each environment in a rollout.
        name: Name of the model.

    Example:
    ```python
    agent = krp.RandomAgent()
    agent.compile()
    agent.evaluate("CartPole-v1", episodes=100)
    ```
    """

    collecting = None

    def __init__(
        self, network: keras.Model | None = None, *, rollout_steps: int = 128, name: str | None = None
    ) -> None:
        super().__init__(network, name=name)
        self.rollout_steps = checks.integer("rollout_steps", rollout_steps)

    def default_network(self, env: EnvOrSpaces) -> keras.Model:
        """`krp.networks.feed_forward` without hidden layers."""
        return networks.feed_forward(env, units=(), value=False)

    def metric_names(self) -> list[str]:
        """No metrics besides `return` and `length`."""
        return []

    def act(
        self, observation: Nest, is_first: tf.Tensor, state: Nest, seed: tf.Tensor, deterministic: bool = False
    ) -> tuple[Nest, Nest, Nest]:
        """One step: `(action, record, state)`."""
        raw = masks.sample(self.action_space, tf.shape(is_first)[0], seed, self._mask(observation))
        outputs, state = self._unrolled.step(observation, is_first, state)
        return raw, {"raw": raw, "parameters": outputs["action"]}, state

    def _mask(self, observation):
        """The mask in a nest of tensors `[B, ...]`, or `None`."""
        return observation[masks.KEY] if masks.places(self.observation_space, self.action_space) else None

    def environment_action(self, raw: Nest) -> Nest:
        """The action itself."""
        return raw

    def updates_per_rollout(self, num_envs: int) -> int:
        """1: a step that changes no weights."""
        return 1

    def make_source(self, env: BatchEnv, seed: int) -> RolloutSource:
        """Rollouts of `env`."""
        return PlaySource(self, env, seed)

    def loss_and_logs(self, data: Nest) -> Loss:
        """Returns 0."""
        return tf.constant(0.0), {}

    def train_step(self, data: Nest) -> dict[str, tf.Tensor]:
        """Updates the metrics only."""
        self.failure.assign(tf.cast(data.report["failure"], tf.int32))
        self._reports.update(data.report, tf.equal(data.index, 0), {}, {})
        return self.logs()

    def predict_step(self, data: Nest) -> Nest:
        """Random actions for a batch of observations, or of sequences of them with time on axis 1."""
        data = border.encode(self.observation_space, data[0] if isinstance(data, tuple) and len(data) == 1 else data)
        leaf, space = keras.tree.flatten(data)[0], spaces.leaves(self.observation_space)[0]
        axes = tf.shape(leaf)[: len(leaf.shape) - len(space.shape)]  # [B], or [B, T]
        rows = tf.nest.map_structure(
            lambda x, spec: tf.reshape(x, (-1, *spec.shape)), data, spaces.tensor_specs(self.observation_space)
        )
        actions = masks.sample(self.action_space, tf.reduce_prod(axes), tf.constant([0, 0]), self._mask(rows))
        actions = tf.nest.map_structure(lambda x: tf.reshape(x, tf.concat([axes, tf.shape(x)[1:]], 0)), actions)
        return border.decode(self.action_space, actions)
