"""An agent that explores whatever its own policy does."""

import keras
import tensorflow as tf

from keras_rl_prob import checks, masks
from keras_rl_prob.types import Nest


class RandomNowAndThen:
    """An `Actor` that takes the agent's action, but a random one with probability `epsilon` (`masks.sample`).

    Each environment draws by itself, at each step. With `epsilon=0` the actions are those of the agent.

    Args:
        agent: A built agent.
        epsilon: Number from 0 to 1.

    Raises:
        ValueError: `epsilon` is not from 0 to 1.
    """

    def __init__(self, agent: keras.Model, epsilon: float) -> None:
        self._agent, self._epsilon = agent, checks.fraction("epsilon", epsilon)
        self.initial_state, self.final_value = agent.initial_state, agent.final_value

    def act(
        self, observation: Nest, is_first: tf.Tensor, state: Nest, seed: tf.Tensor, deterministic: bool = False
    ) -> tuple[Nest, Nest, Nest]:
        """One step: `(action, record, state)`; the record is that of the agent's action."""
        action, record, state = self._agent.act(observation, is_first, state, seed, deterministic)
        if not self._epsilon:
            return action, record, state
        spaces = self._agent.observation_space, self._agent.action_space
        mask = observation[masks.KEY] if masks.places(*spaces) else None
        at_random = masks.sample(spaces[1], is_first.shape[0], seed + [EPSILON, 0], mask)
        explores = tf.random.stateless_uniform(is_first.shape, seed + [EPSILON, 1]) < self._epsilon  # [B]

        def chosen(random, own):
            return tf.where(tf.reshape(explores, (-1, *[1] * (own.shape.rank - 1))), random, own)

        return tf.nest.map_structure(chosen, at_random, action), record, state


EPSILON = 1_000_003  # keeps these random numbers apart from those of the agent
