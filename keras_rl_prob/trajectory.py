"""Containers used everywhere: `TimeStep`, the output of environments at one time step, and `Episode`, a recorded episode."""

from typing import Any, NamedTuple

import tensorflow as tf


class TimeStep(NamedTuple):
    """One row of a batch of environments; also, with a leading time axis, a sequence of rows.

    `reward`, `discount` and `is_last` belong to the transition that *arrived* at this row, as in dm_env.

    With NEXT_STEP autoreset (Gymnasium's default and what native environments do) an episode's final observation is a row
    of its own with `is_last=True`; the action taken from it is ignored and the next row has `is_first=True`, reward 0.
    An environment that resets within the same step returns a row with *both* flags: the finished transition's reward and
    discount, the new episode's first observation, and the old episode's last one in `final_observation`.

    Attributes:
        observation: Nest of tensors `[B, ...]`.
        reward: float32 `[B]`; 0 where an episode starts on its own row.
        discount: float32 `[B]`; 0 where the episode *terminated* on arrival, 1 otherwise, truncation included. Not
            multiplied by an agent's gamma.
        is_first: bool `[B]`; the observation starts an episode (the recurrent state is reset to zero before it).
        is_last: bool `[B]`; the transition that arrived here ended its episode.
        final_observation: Nest like `observation` for environments that reset within the same step, meaningful where
            `is_last`; the empty tuple for all others.
    """

    observation: Any
    reward: tf.Tensor
    discount: tf.Tensor
    is_first: tf.Tensor
    is_last: tf.Tensor
    final_observation: Any = ()


class Episode(NamedTuple):
    """A recorded episode with the values that Gymnasium returned; the fields are those of Minari's episodes.

    Attributes:
        observations: Nest of arrays `[L + 1, ...]`, the final observation included.
        actions: Nest of arrays `[L, ...]`.
        rewards: Array `[L]`.
        terminations: bool array `[L]`; True in the last entry if the episode terminated.
        truncations: bool array `[L]`; True in the last entry if the episode was truncated.
    """

    observations: Any
    actions: Any
    rewards: Any
    terminations: Any
    truncations: Any
