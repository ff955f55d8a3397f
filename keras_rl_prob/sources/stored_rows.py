"""Rows of a replay buffer, as they are stored and as they are read."""

from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from keras_rl_prob import spaces
from keras_rl_prob.drivers import Driver
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.replay import Ring
from keras_rl_prob.replay.frames import frames_of, padding_of, without_axis
from keras_rl_prob.types import Nest


class StoredRows:
    """A ring buffer of rows, which stores each frame of stacks of frames once.

    Environments that reset within the same step return the final observation of a truncated episode separately. Their rows
    store it as a second observation; when it is read, it is a row of its own, as with other environments.

    Args:
        make_ring: Function that creates a `Ring` from specs and a capacity.
        frame_axis: Axis along which observations are stacks of frames, or `None`.
        env: A native or Gymnasium environment.
        driver: The `Driver` of the rollouts.
        rows: Number of rows.

    Attributes:
        ring: The `Ring`.
        has_final_rows: Whether the final observation of an episode is a row.
    """

    def __init__(
        self, make_ring: Callable[..., Ring], frame_axis: int | None, env: BatchEnv, driver: Driver, rows: int
    ) -> None:
        self._frame_axis: Any = frame_axis
        self._frames: Any = None if frame_axis is None else frames_of(env.observation_space, frame_axis)
        batch = (env.num_envs,)
        observation = spaces.tensor_specs(env.observation_space)
        if frame_axis is not None:
            observation = tf.TensorSpec(without_axis(observation.shape, frame_axis), observation.dtype)
        observation = tf.nest.map_structure(lambda spec: tf.TensorSpec((*batch, *spec.shape), spec.dtype), observation)
        self.has_final_rows = driver.final_value_specs == ()
        real, flag = tf.TensorSpec(batch, tf.float32), tf.TensorSpec(batch, tf.bool)
        beside = {} if self.has_final_rows else {"final_observation": observation, "has_final": flag}
        beside |= {} if frame_axis is None else {"after_zeros": flag}
        names = ("terminated", "ended", "is_first", "valid")
        action = driver.record_specs["raw"]
        self.ring = make_ring(
            {"observation": observation, **beside, "action": action, "reward": real, **dict.fromkeys(names, flag)}, rows
        )

    def window(self, places: tf.Tensor, envs: tf.Tensor, length: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the windows of rows that start at `places`, with separate final observations inserted as rows.

        Returns:
            `(places, final)`, int32 and bool `[length, ...]`: the slot of each row, and whether it is the separate final
            observation in that slot.
        """
        steps = tf.reshape(tf.range(length), (-1, *[1] * places.shape.rank))
        rows = (places[None] + steps) % self.ring.capacity
        if self.has_final_rows:
            return rows, tf.zeros_like(rows, tf.bool)
        beside = tf.cast(self.ring.read("has_final", rows, envs[None]), tf.int32)
        position = steps + tf.cumsum(beside, exclusive=True)  # of each row in the window
        row = tf.reduce_sum(tf.cast(position[None] <= steps[:, None], tf.int32), 1) - 1  # row at each position
        at = tf.reduce_sum(tf.one_hot(row, length, axis=1, dtype=tf.int32) * position[None], 1)
        return (places[None] + row) % self.ring.capacity, tf.not_equal(at, steps)

    def entries(self, names: Iterable[str], places: tf.Tensor, envs: tf.Tensor, final: tf.Tensor) -> dict[str, Nest]:
        """Returns a dict of what rows contain besides observations; all of it is 0 for separate final observations."""
        entries = {name: self.ring.read(name, places, envs) for name in names}
        if self.has_final_rows:
            return entries

        def unless_final(x):
            return tf.where(final[(..., *[None] * (x.shape.rank - final.shape.rank))], tf.zeros_like(x), x)

        return tf.nest.map_structure(unless_final, entries)

    def observation(self, places: tf.Tensor, envs: tf.Tensor, final: tf.Tensor = False) -> Nest:
        """Returns the observations `[..., ...]` of rows, or the final ones where `final`; frames are stacked again."""
        observation = self._observation(places, envs)
        if self.has_final_rows or final is False:
            return observation
        beside, axis = self.ring.read("final_observation", places, envs), self._frame_axis
        if axis is not None:  # earlier frames of the stack are those of its row
            axis += len(places.shape)
            before = tf.gather(observation, tf.range(1, self._frames), axis=axis)
            beside = tf.concat([before, tf.expand_dims(beside, axis)], axis)

        def chosen(x, y):
            return tf.where(tf.reshape(final, (*final.shape, *[1] * (x.shape.rank - final.shape.rank))), x, y)

        return tf.nest.map_structure(chosen, beside, observation)

    def _observation(self, places, envs):
        if self._frame_axis is None:
            return self.ring.read("observation", places, envs)
        back, frames = tf.zeros_like(places), [self.ring.read("observation", places, envs)]
        going = ~self.ring.read("is_first", places, envs)
        for _ in range(self._frames - 1):
            back += tf.cast(going, tf.int32)
            place = (places - back) % self.ring.capacity
            frame = self.ring.read("observation", place, envs)
            empty = ~going & self.ring.read("after_zeros", place, envs)
            empty = empty[(..., *[None] * (len(frame.shape) - len(empty.shape)))]
            frames.append(tf.where(empty, tf.zeros_like(frame), frame))
            going &= ~self.ring.read("is_first", place, envs)
        return tf.stack(frames[::-1], len(places.shape) + self._frame_axis)

    def apart(self, observation: Nest, is_first: tf.Tensor) -> tuple[dict[str, Nest], tf.Tensor]:
        """Returns what is stored of observations, and whether stacks of frames can be put together again from it.

        Args:
            observation: Nest `[T, B, ...]`.
            is_first: bool `[T, B]`.
        """
        if self._frame_axis is None:
            return {"observation": observation}, tf.constant(True)
        after_zeros, known = padding_of(observation, self._frame_axis + 2, is_first)
        return {"observation": self.newest(observation), "after_zeros": after_zeros}, known

    def newest(self, observation: Nest) -> Nest:
        """Returns the last frame of stacks of frames `[T, B, ...]`, or the whole observation if it is no stack."""
        if self._frame_axis is None:
            return observation
        return tf.gather(observation, self._frames - 1, axis=self._frame_axis + 2)


def known(next_is_first: tf.Tensor, steps: tf.Tensor, discount: tf.Tensor) -> tf.Tensor:
    """Whether transitions are valid: no row after the first starts another episode, but the last one may after a termination.

    Args:
        next_is_first: bool `[n, ...]`; whether the rows after the first start an episode.
        steps: int32 `[...]`, from 1 to n.
        discount: float32 `[...]`; 0 where the episode terminated after `steps` steps.

    Returns:
        bool `[...]`.
    """
    usable = tf.ones_like(steps, tf.bool)
    for j in range(next_is_first.shape[0]):
        here = tf.equal(steps, j + 1) & (discount > 0.0)
        usable &= ~(next_is_first[j] & ((steps > j + 1) | here))
    return usable
