"""The scale of rewards: the running standard deviation of the discounted return."""

import keras
import tensorflow as tf

from keras_rl_prob.drivers import Rollout
from keras_rl_prob.layers.running_normalization import Moments
from keras_rl_prob.ops.returns import running_sums


class RewardScale:
    """Updates an agent's reward statistics with the discounted returns of unfinished episodes.

    Args:
        agent: A built agent with a `discount` and a `reward_normalizer`.
        num_envs: Number of environments.
    """

    def __init__(self, agent: keras.Model, num_envs: int) -> None:
        self._agent = agent
        self._discounted_return = tf.Variable(tf.zeros(num_envs), trainable=False, name="discounted_return")

    @property
    def variables(self) -> list[tf.Variable]:
        """The discounted returns so far."""
        return [self._discounted_return]

    def update(self, rollout: Rollout, healthy: tf.Tensor) -> Moments:
        """Adds a rollout to the statistics unless it has numbers that are not finite (`healthy`, bool scalar).

        Returns:
            The `Moments` of the returns.
        """
        discount = self._agent.now(self._agent.discount)
        carries = discount * (1.0 - tf.cast(rollout.ended, tf.float32))
        before = self._discounted_return.read_value()
        returns = running_sums(rollout.reward, carries, before)
        self._discounted_return.assign(tf.where(healthy, returns[-1] * carries[-1], before))
        return self._agent.reward_normalizer.update(returns, rollout.valid & healthy)
