"""Enumeration of the actions of a small discrete action space."""

import math

import gymnasium
import tensorflow as tf
from gymnasium import spaces as gym_spaces

MOST = 1_000


class JointActions:
    """Enumerates the actions of a Discrete or MultiDiscrete space, for the latter all combinations.

    The last component changes fastest: in `MultiDiscrete([2, 3])` action `[1, 0]` is number 3.

    Args:
        action_space: A Gymnasium space.

    Attributes:
        count: Number of actions.

    Raises:
        ValueError: The space is of another kind, or has more than 1,000 actions.

    Example:
    >>> joint = JointActions(gym_spaces.MultiDiscrete([2, 3]))
    >>> joint.count, int(joint.index(tf.constant([1, 0])))
    (6, 3)
    """

    def __init__(self, action_space: gymnasium.Space) -> None:
        self._classes: list[int] = []
        if isinstance(action_space, gym_spaces.Discrete):
            self._classes = [int(action_space.n)]
        elif isinstance(action_space, gym_spaces.MultiDiscrete):
            self._classes = action_space.nvec.ravel().tolist()
        self.count = math.prod(self._classes)
        if not self._classes or self.count > MOST:
            raise ValueError(
                f"`env` must have a Discrete or MultiDiscrete action space of at most {MOST:,} actions, each of which has "
                f"its own value. Received: action_space={action_space}"
            )
        self._rank = len(action_space.shape or ())

    def log_probabilities(self, logits: tf.Tensor) -> tf.Tensor:
        """Returns the log-probabilities `[..., count]` of all actions for the outputs of a `DenseCategorical`.

        Args:
            logits: Float tensor `[..., *action_shape, classes]`.
        """
        parts = tf.nn.log_softmax(tf.cast(logits, tf.float32))
        leading = parts.shape[: parts.shape.rank - self._rank - 1]
        parts = tf.reshape(parts, (*leading, len(self._classes), parts.shape[-1]))
        joint = parts[..., 0, : self._classes[0]]
        for i, classes in enumerate(self._classes[1:], 1):
            joint = joint[..., None] + parts[..., i, None, :classes]
            joint = tf.reshape(joint, (*leading, joint.shape[-2] * classes))
        return joint

    def index(self, actions: tf.Tensor) -> tf.Tensor:
        """Returns the indices, int32 `[...]`, of actions `[..., *action_shape]`."""
        flat = tf.reshape(actions, (*actions.shape[: actions.shape.rank - self._rank], len(self._classes)))
        index = flat[..., 0]
        for i, classes in enumerate(self._classes[1:], 1):
            index = index * classes + flat[..., i]
        return index
