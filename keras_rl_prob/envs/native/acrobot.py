"""Acrobot in TensorFlow."""

import math

import gymnasium
import numpy as np
import tensorflow as tf

from keras_rl_prob.envs.native.native_env import NativeEnv
from keras_rl_prob.envs.native.uniform import uniform

# Both links: length, distance of the centre of mass, mass, moment of inertia.
LENGTH, CENTRE, MASS, INERTIA, GRAVITY, DT = 1.0, 0.5, 1.0, 1.0, 9.8, 0.2
MAX_SPEEDS = (4 * math.pi, 9 * math.pi)
HIGH = np.array([1.0, 1.0, 1.0, 1.0, *MAX_SPEEDS], np.float32)


class Acrobot(NativeEnv):
    """Gymnasium's `Acrobot-v1`: swing two hanging links until the free end is one link above the pivot.

    The action is a torque of -1 (0), 0 (1) or 1 (2) on the joint between the links. State is
    `[angle 1, angle 2, velocity 1, velocity 2]`, float32 `[B, 4]`, hanging at 0 and angle 2 relative to the first link;
    observation `[cos 1, sin 1, cos 2, sin 2, velocity 1, velocity 2]`. Every transition costs 1 except the one that
    reaches the height, which costs nothing and terminates; 500 transitions truncate.

    Example:
    >>> env_state, time_step = Acrobot(num_envs=2).reset([0, 1])
    >>> tuple(env_state.simulator.shape), tuple(time_step.observation.shape)
    ((2, 4), (2, 6))

    References:
        Sutton and Barto, "Reinforcement learning: an introduction", 1998, section 11.3.
    """

    observation_space = gymnasium.spaces.Box(-HIGH, HIGH)
    action_space = gymnasium.spaces.Discrete(3)
    max_episode_steps = 500

    def initial_state(self, seed: tf.Tensor) -> tf.Tensor:
        """Returns `[B, 4]` uniform in [-0.1, 0.1]."""
        return uniform(seed, (self.num_envs, 4), -0.1, 0.1)

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """Returns `[B, 6]`."""
        cos, sin = tf.cos(state[:, :2]), tf.sin(state[:, :2])
        return tf.concat([tf.reshape(tf.stack([cos, sin], axis=-1), (-1, 4)), state[:, 2:]], axis=-1)

    def transition(
        self, state: tf.Tensor, action: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Integrates `DT` seconds by one fourth-order Runge-Kutta step; angles stay in [-pi, pi]."""
        state = _runge_kutta(state, tf.cast(action, tf.float32) - 1.0)
        angles = tf.math.floormod(state[:, :2] + math.pi, 2 * math.pi) - math.pi
        speeds = tf.clip_by_value(state[:, 2:], [-s for s in MAX_SPEEDS], MAX_SPEEDS)
        height = -tf.cos(angles[:, 0]) - tf.cos(angles[:, 0] + angles[:, 1])
        terminated = height > 1.0
        return tf.concat([angles, speeds], axis=-1), tf.where(terminated, 0.0, -1.0), terminated


def _runge_kutta(state, torque):
    """The state `[B, 4]` after `DT` seconds under a constant torque `[B]`."""
    k1 = _derivative(state, torque)
    k2 = _derivative(state + DT / 2 * k1, torque)
    k3 = _derivative(state + DT / 2 * k2, torque)
    k4 = _derivative(state + DT * k3, torque)
    return state + DT / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def _derivative(state, torque):
    """Time derivative `[B, 4]` of the state, by the equations of motion in Sutton and Barto's book."""
    angle1, angle2, speed1, speed2 = tf.unstack(state, axis=-1)
    coupling, sin2 = MASS * LENGTH * CENTRE, tf.sin(angle2)
    d2 = MASS * CENTRE**2 + coupling * tf.cos(angle2) + INERTIA
    d1 = d2 + MASS * CENTRE**2 + MASS * LENGTH**2 + coupling * tf.cos(angle2) + INERTIA
    phi2 = MASS * CENTRE * GRAVITY * tf.sin(angle1 + angle2)
    phi1 = MASS * (CENTRE + LENGTH) * GRAVITY * tf.sin(angle1) + phi2
    phi1 -= coupling * sin2 * (speed2**2 + 2 * speed1 * speed2)
    rate2 = torque + d2 / d1 * phi1 - coupling * speed1**2 * sin2 - phi2
    rate2 /= MASS * CENTRE**2 + INERTIA - d2**2 / d1
    rate1 = -(d2 * rate2 + phi1) / d1
    return tf.stack([speed1, speed2, rate1, rate2], axis=-1)
