"""The classic-control environments with hidden velocities, which need memory."""

import tensorflow as tf

from keras_rl_prob.envs.native.acrobot import Acrobot
from keras_rl_prob.envs.native.cartpole import CartPole
from keras_rl_prob.envs.native.mountain_car import MountainCar
from keras_rl_prob.envs.native.mountain_car_continuous import MountainCarContinuous
from keras_rl_prob.envs.native.pendulum import Pendulum
from keras_rl_prob.envs.wrappers.mask_velocity import VELOCITY_MASKS


class CartPoleNoVel(CartPole):
    """`CartPole` whose observation shows 0 for both velocities."""

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """Returns the masked observation."""
        return super().observe(state) * VELOCITY_MASKS["CartPoleEnv"]


class MountainCarNoVel(MountainCar):
    """`MountainCar` whose observation shows 0 for the velocity."""

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """Returns the masked observation."""
        return super().observe(state) * VELOCITY_MASKS["MountainCarEnv"]


class MountainCarContinuousNoVel(MountainCarContinuous):
    """`MountainCarContinuous` whose observation shows 0 for the velocity."""

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """Returns the masked observation."""
        return super().observe(state) * VELOCITY_MASKS["Continuous_MountainCarEnv"]


class PendulumNoVel(Pendulum):
    """`Pendulum` whose observation shows 0 for the angular velocity."""

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """Returns the masked observation."""
        return super().observe(state) * VELOCITY_MASKS["PendulumEnv"]


class AcrobotNoVel(Acrobot):
    """`Acrobot` whose observation shows 0 for both angular velocities."""

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """Returns the masked observation."""
        return super().observe(state) * VELOCITY_MASKS["AcrobotEnv"]
