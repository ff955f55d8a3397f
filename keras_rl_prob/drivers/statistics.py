"""Returns and lengths of the episodes of rollouts."""

import tensorflow as tf

from keras_rl_prob.ops.returns import running_sums


class EpisodeStatistics:
    """Tracks episodes across rollouts and reports those that ended.

    Args:
        num_envs: Batch size `B`.
        others: Number of the first environments whose episodes are not reported, since others than the agent play them.
    """

    def __init__(self, num_envs: int, others: int = 0) -> None:
        self._others = others
        self._score = tf.Variable(tf.zeros((num_envs,)), trainable=False, name="score")
        self._length = tf.Variable(tf.zeros((num_envs,)), trainable=False, name="length")

    @property
    def variables(self) -> list[tf.Variable]:
        """Returns and lengths of the current episodes so far."""
        return [self._score, self._length]

    def update(self, reward: tf.Tensor, valid: tf.Tensor, ended: tf.Tensor) -> dict[str, tf.Tensor]:
        """Processes one rollout.

        Args:
            reward: float32 `[T, B]`, not normalised.
            valid: bool `[T, B]`; False for rows that are not environment steps.
            ended: bool `[T, B]`; the row's action ended its episode.

        Returns:
            A dict of float32 scalars: the sums `"return"` and `"length"` over the episodes that ended, and their number
            `"episodes"`.
        """
        carries = 1.0 - tf.cast(ended, tf.float32)  # [T, B]
        both = tf.stack([reward, tf.cast(valid, tf.float32)], -1)  # [T, B, 2]
        before = tf.stack([self._score.read_value(), self._length.read_value()], -1)
        scores, lengths = tf.unstack(running_sums(both, tf.stack([carries, carries], -1), before), axis=-1)
        self._score.assign(scores[-1] * carries[-1])
        self._length.assign(lengths[-1] * carries[-1])
        finished = 1.0 - carries
        if self._others:
            finished *= tf.cast(tf.range(ended.shape[1]) >= self._others, tf.float32)
        return {
            "return": tf.reduce_sum(scores * finished),
            "length": tf.reduce_sum(lengths * finished),
            "episodes": tf.reduce_sum(finished),
        }
