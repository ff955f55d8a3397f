"""Delayed rollouts, as if they had been collected by an older policy in another process."""

from typing import Any

import keras
import tensorflow as tf

from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.sources.on_policy import OnPolicySource


class LaggedSource(OnPolicySource):
    """Returns rollouts with a delay: each is the one collected `lag` rollouts ago.

    The first ones are all collected by the initial policy of the training run.

    Args:
        agent: See `OnPolicySource`.
        env: A native or Gymnasium environment.
        sequence_length: Steps in a sequence; divides `rollout_steps`.
        seed: Integer that determines resets, actions and shuffles.
        lag: The delay in rollouts, a positive integer.
    """

    def __init__(self, agent: keras.Model, env: BatchEnv, sequence_length: int, seed: int, *, lag: int) -> None:
        super().__init__(agent, env, sequence_length, seed)
        rollout = tf.function(super().collect, autograph=False).get_concrete_function().structured_outputs
        self._held = tf.nest.map_structure(
            lambda x: tf.Variable(tf.zeros((lag, *x.shape), x.dtype), trainable=False), rollout
        )
        self._lag, self._count = lag, tf.Variable(0, trainable=False, name="count")  # of all rollouts collected

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables of the state, including delayed rollouts."""
        return [*super().variables, *tf.nest.flatten(self._held), self._count]

    def restart(self, env: BatchEnv, seed: int, goes_on: bool = False) -> None:
        """Starts anew, and discards the delayed rollouts."""
        super().restart(env, seed, goes_on)
        self._count.assign(0)

    def collect(self) -> Any:
        """Returns the oldest delayed rollout, and replaces it with a new one."""

        def fill(count):
            self._hold(super(LaggedSource, self).collect())
            return (count + 1,)

        tf.while_loop(lambda count: count < self._lag, fill, (self._count.read_value(),), parallel_iterations=1)
        slot = self._count % self._lag
        oldest = tf.nest.map_structure(lambda held: held.read_value()[slot], self._held)
        with tf.control_dependencies(tf.nest.flatten(oldest)):
            newest = super().collect()
        self._hold(newest)
        with tf.control_dependencies(tf.nest.flatten(newest)):  # if an environment fails, nothing is learned
            return tf.nest.map_structure(tf.identity, oldest)

    def _hold(self, rollout):
        slot = self._count % self._lag
        with tf.control_dependencies(tf.nest.flatten(rollout)):  # if an environment fails, nothing is counted
            tf.nest.map_structure(
                lambda held, x: held.scatter_update(tf.IndexedSlices(x[None], slot[None])), self._held, rollout
            )
            self._count.assign_add(1)
