"""Rollouts without updates."""

from typing import NamedTuple, Self

import keras
import tensorflow as tf

from keras_rl_prob.drivers import Driver, Rollout
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.sources.rollouts import RolloutSource


class Played(NamedTuple):
    """A rollout without updates, which is only reported.

    Attributes:
        report: Dict of float32 scalars that describe the rollout.
        index: int32 scalar, 0.
    """

    report: dict
    index: tf.Tensor

    @property
    def updates(self) -> int:
        """1, so that the rollout is reported once."""
        return 1

    def update(self, index: tf.Tensor) -> Self:
        """Returns the rollout."""
        return self._replace(index=index)


class PlaySource(RolloutSource):
    """Collects rollouts without updates.

    Args:
        agent: A built agent.
        env: A native or Gymnasium environment.
        seed: Integer that determines resets and actions.
    """

    def __init__(self, agent: keras.Model, env: BatchEnv, seed: int) -> None:
        steps = agent.rollout_steps
        driver = Driver(agent, env, steps=steps, sequence_length=steps, seed=seed, jit_compile=agent.jit_compile)
        super().__init__(agent, env, driver, seed)

    def prepare(self, rollout: Rollout) -> Played:
        """Counts the steps and episodes of a rollout."""
        report, _ = self.follower.follow(rollout)
        self.follower.keep_actions(rollout)
        self.next_seed()
        return Played(report, tf.constant(0))
