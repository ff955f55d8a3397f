"""Rollouts of one whole episode per environment."""

from typing import Any

import tensorflow as tf

from keras_rl_prob.drivers.driver import Actor, Driver
from keras_rl_prob.envs.factory import BatchEnv


class EpisodeDriver(Driver):
    """A `Driver` whose `collect` resets all environments and plays one episode in each, of at most `steps` rows.

    Rows after the end of an episode are not valid and have no reward. An episode that has not ended after `steps` rows is
    truncated, as by a time limit.

    Args:
        agent: See `Driver`.
        env: See `Driver`.
        **settings: The other arguments of `Driver`, except `episodes`.

    Raises:
        ValueError: `episodes` is given.
    """

    def __init__(self, agent: Actor, env: BatchEnv, **settings: Any) -> None:
        if settings.get("episodes") is not None:
            raise ValueError(
                "`episodes` must be `None` for an `EpisodeDriver`, which plays one in each environment. "
                f"Received: episodes={settings['episodes']!r}"
            )
        super().__init__(agent, env, **settings)

    @property
    def variables(self) -> list[tf.Variable]:
        """The random key, which alone determines the next rollout."""
        return [self._key]

    def _next(self):
        """A `Rollout` of one episode in each environment."""
        env_state, step = self._env.reset(self._key + [1, 0])
        carry = (env_state, step, self._agent.initial_state(self._env.num_envs))
        tf.nest.map_structure(lambda variable, value: variable.assign(value), self._variables, carry)
        rollout = super()._next()
        ended = tf.cast(rollout.ended, tf.int32)
        over = tf.cumsum(ended, exclusive=True) > 0  # [T, B]
        cut = (tf.range(self.steps) == self.steps - 1)[:, None] & ~rollout.ended & ~over
        return rollout._replace(
            valid=rollout.valid & ~over,
            reward=tf.where(over, 0.0, rollout.reward),
            ended=(rollout.ended & ~over) | cut,
            final_value=self._with_value_at(cut, rollout),
        )

    def _with_value_at(self, cut, rollout):
        """The values of final observations that are not rows; where `cut`, of the observation after the last row."""
        if isinstance(rollout.final_value, tuple):
            return ()
        value = self._agent.final_value(rollout.next_step.observation, rollout.next_state)
        return tf.where(cut, value, rollout.final_value)
