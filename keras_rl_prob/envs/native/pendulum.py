"""Pendulum in TensorFlow."""

import math

import gymnasium
import numpy as np
import tensorflow as tf

from keras_rl_prob.envs.native.native_env import NativeEnv
from keras_rl_prob.envs.native.uniform import uniform

MAX_SPEED, MAX_TORQUE, DT, GRAVITY, MASS, LENGTH = 8.0, 2.0, 0.05, 10.0, 1.0, 1.0
HIGH = np.array([1.0, 1.0, MAX_SPEED], np.float32)


class Pendulum(NativeEnv):
    """Gymnasium's `Pendulum-v1`: swing a pendulum up and hold it; the action is a torque, float32 `[B, 1]` in [-2, 2].

    State is `[angle, angular velocity]`, float32 `[B, 2]`, upright at 0; observation `[cos, sin, angular velocity]`.
    The cost of a transition, `angle^2 + 0.1 velocity^2 + 0.001 torque^2`, is that of the state it leaves. Only the
    limit of 200 transitions ends an episode.

    Example:
    >>> env_state, time_step = Pendulum(num_envs=2).reset([0, 1])
    >>> tuple(env_state.simulator.shape), tuple(time_step.observation.shape)
    ((2, 2), (2, 3))
    """

    observation_space = gymnasium.spaces.Box(-HIGH, HIGH)
    action_space = gymnasium.spaces.Box(-MAX_TORQUE, MAX_TORQUE, (1,))
    max_episode_steps = 200

    def initial_state(self, seed: tf.Tensor) -> tf.Tensor:
        """Returns `[B, 2]`: angle uniform in [-pi, pi], velocity in [-1, 1]."""
        high = tf.constant([math.pi, 1.0])
        return uniform(seed, (self.num_envs, 2), -high, high)

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """Returns `[B, 3]`."""
        angle, speed = tf.unstack(state, axis=-1)
        return tf.stack([tf.cos(angle), tf.sin(angle), speed], axis=-1)

    def transition(
        self, state: tf.Tensor, action: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Integrates `DT` seconds by one semi-implicit Euler step."""
        angle, speed = tf.unstack(state, axis=-1)
        torque = tf.clip_by_value(action[:, 0], -MAX_TORQUE, MAX_TORQUE)
        wrapped = tf.math.floormod(angle + math.pi, 2 * math.pi) - math.pi  # [-pi, pi)
        cost = wrapped**2 + 0.1 * speed**2 + 0.001 * torque**2
        acceleration = 3 * GRAVITY / (2 * LENGTH) * tf.sin(angle) + 3 / (MASS * LENGTH**2) * torque
        speed = tf.clip_by_value(speed + DT * acceleration, -MAX_SPEED, MAX_SPEED)
        return tf.stack([angle + DT * speed, speed], axis=-1), -cost, tf.zeros((self.num_envs,), tf.bool)
