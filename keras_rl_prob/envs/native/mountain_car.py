"""MountainCar in TensorFlow."""

import gymnasium
import numpy as np
import tensorflow as tf

from keras_rl_prob.envs.native.native_env import NativeEnv
from keras_rl_prob.envs.native.uniform import uniform

MIN_POSITION, MAX_POSITION, MAX_SPEED = -1.2, 0.6, 0.07
GRAVITY, FORCE, GOAL = 0.0025, 0.001, 0.5
LOW = np.array([MIN_POSITION, -MAX_SPEED], np.float32)
HIGH = np.array([MAX_POSITION, MAX_SPEED], np.float32)


def drive(state: tf.Tensor, push: tf.Tensor) -> tf.Tensor:
    """Moves cars in the valley `sin(3 position)`; the wall at its left end stops them.

    Args:
        state: float32 `[B, 2]`, position and velocity.
        push: float32 `[B]`, the acceleration by the engine.

    Returns:
        The next state, `[B, 2]`.
    """
    position, velocity = tf.unstack(state, axis=-1)
    velocity = tf.clip_by_value(velocity + push - GRAVITY * tf.cos(3.0 * position), -MAX_SPEED, MAX_SPEED)
    position = tf.clip_by_value(position + velocity, MIN_POSITION, MAX_POSITION)
    velocity = tf.where(position <= MIN_POSITION, tf.maximum(velocity, 0.0), velocity)
    return tf.stack([position, velocity], axis=-1)


def at_goal(state: tf.Tensor, goal: float) -> tf.Tensor:
    """Whether cars `[B, 2]` are at or beyond the position `goal` and not rolling back; bool `[B]`."""
    return (state[:, 0] >= goal) & (state[:, 1] >= 0.0)


class MountainCar(NativeEnv):
    """Gymnasium's `MountainCar-v0`: rock an underpowered car out of a valley; push left (0), not (1) or right (2).

    State and observation are `[position, velocity]`, float32 `[B, 2]`. Every transition costs 1; the goal terminates,
    200 transitions truncate.

    Example:
    >>> env_state, time_step = MountainCar(num_envs=8).reset([0, 1])
    >>> bool(tf.reduce_all(tf.abs(time_step.observation[:, 0] + 0.5) <= 0.1))
    True

    References:
        Moore, "Efficient memory-based learning for robot control", 1990.
    """

    observation_space = gymnasium.spaces.Box(LOW, HIGH)
    action_space: gymnasium.Space = gymnasium.spaces.Discrete(3)
    max_episode_steps = 200

    def initial_state(self, seed: tf.Tensor) -> tf.Tensor:
        """Returns `[B, 2]`: cars at rest, position uniform in [-0.6, -0.4]."""
        position = uniform(seed, (self.num_envs, 1), -0.6, -0.4)
        return tf.concat([position, tf.zeros_like(position)], axis=-1)

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """Returns the state."""
        return state

    def transition(
        self, state: tf.Tensor, action: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Takes one step with full power or none."""
        state = drive(state, FORCE * (tf.cast(action, tf.float32) - 1.0))
        return state, -tf.ones((self.num_envs,)), at_goal(state, GOAL)
