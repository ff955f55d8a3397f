"""CartPole in TensorFlow."""

import math

import gymnasium
import numpy as np
import tensorflow as tf

from keras_rl_prob.envs.native.native_env import NativeEnv
from keras_rl_prob.envs.native.uniform import uniform

GRAVITY, CART_MASS, POLE_MASS, HALF_LENGTH, FORCE, DT = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
MAX_POSITION, MAX_ANGLE = 2.4, math.radians(12)
TOTAL_MASS = CART_MASS + POLE_MASS
HIGH = np.array([2 * MAX_POSITION, np.inf, 2 * MAX_ANGLE, np.inf], np.float32)


class CartPole(NativeEnv):
    """Gymnasium's `CartPole-v1`: balance a pole on a cart by pushing it left (0) or right (1).

    State and observation are `[position, velocity, angle, angular velocity]`, float32 `[B, 4]`. Every transition earns
    1; leaving 2.4 units or 12 degrees terminates, 500 transitions truncate.

    Example:
    >>> env = CartPole(num_envs=2)
    >>> env_state, time_step = env.reset([0, 1])
    >>> env_state, time_step = env.step(env_state, tf.constant([0, 1]))
    >>> time_step.reward.numpy()
    array([1., 1.], dtype=float32)

    References:
        Barto, Sutton and Anderson, "Neuronlike adaptive elements that can solve difficult learning control
        problems", 1983.
        Florian, "Correct equations for the dynamics of the cart-pole system", 2007.
    """

    observation_space = gymnasium.spaces.Box(-HIGH, HIGH)
    action_space = gymnasium.spaces.Discrete(2)
    max_episode_steps = 500

    def initial_state(self, seed: tf.Tensor) -> tf.Tensor:
        """Returns `[B, 4]` uniform in [-0.05, 0.05]."""
        return uniform(seed, (self.num_envs, 4), -0.05, 0.05)

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """Returns the state."""
        return state

    def transition(
        self, state: tf.Tensor, action: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Integrates `DT` seconds by one Euler step."""
        _, velocity, angle, spin = tf.unstack(state, axis=-1)  # [B] each
        force = tf.where(tf.equal(action, 1), FORCE, -FORCE)
        sin, cos = tf.sin(angle), tf.cos(angle)
        pull = (force + POLE_MASS * HALF_LENGTH * spin**2 * sin) / TOTAL_MASS
        inertia = HALF_LENGTH * (4.0 / 3.0 - POLE_MASS * cos**2 / TOTAL_MASS)
        spin_rate = (GRAVITY * sin - cos * pull) / inertia
        acceleration = pull - POLE_MASS * HALF_LENGTH * spin_rate * cos / TOTAL_MASS
        change = tf.stack([velocity, acceleration, spin, spin_rate], axis=-1)  # [B, 4]
        state = state + DT * change
        terminated = (tf.abs(state[:, 0]) > MAX_POSITION) | (tf.abs(state[:, 2]) > MAX_ANGLE)
        return state, tf.ones((self.num_envs,)), terminated
