"""Rollouts from whose rows an agent learns one by one, in order."""

import keras
import tensorflow as tf

from keras_rl_prob.drivers import Driver, Rollout
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.ops.temporal_difference import clipped
from keras_rl_prob.sources.replay import Replayed
from keras_rl_prob.sources.rollouts import RolloutSource


class OnlineSource(RolloutSource):
    """Uses each row of a rollout for one gradient step, in the order in which they were collected.

    Args:
        agent: A built agent.
        env: A native or Gymnasium environment.
        seed: Integer that determines resets and actions.
    """

    def __init__(self, agent: keras.Model, env: BatchEnv, seed: int) -> None:
        compiled = agent.jit_compile and agent.acts_compiled
        steps = agent.rollout_steps
        driver = Driver(agent, env, steps=steps, sequence_length=steps, seed=seed, jit_compile=compiled)
        super().__init__(agent, env, driver, seed)

    def prepare(self, rollout: Rollout) -> Replayed:
        """Returns the transitions of a rollout, row by row."""
        agent, after, record = self.agent, rollout.next_step, rollout.record
        report, _ = self.follower.follow(rollout)
        self.follower.keep_actions(rollout)
        following = tf.nest.map_structure(
            lambda x, last: tf.concat([x[1:], last[None]], 0), rollout.observation, after.observation
        )
        if tf.nest.flatten(rollout.final_value):  # the environment has reset within the step
            following = tf.nest.map_structure(
                lambda x, final: tf.where(_like(rollout.ended & (rollout.discount > 0.0), x), final, x),
                following,
                rollout.final_value,
            )
        drawn = (
            rollout.observation,
            record["raw"],
            clipped(rollout.reward, agent.reward_clip),
            following,
            agent.now(agent.discount) * rollout.discount,
            tf.cast(rollout.valid, tf.float32),
        )
        report |= agent.exploration_report()
        return Replayed(drawn, tf.constant(agent.rollout_steps), self.next_seed(), report)


def _like(flags, x):
    """Reshapes flags `[T, B]` to as many axes as `x` has."""
    return tf.reshape(flags, (*flags.shape, *[1] * (x.shape.rank - 2)))
