"""Environments written in TensorFlow, whose rollouts can be compiled."""

from keras_rl_prob.envs.native.acrobot import Acrobot
from keras_rl_prob.envs.native.cartpole import CartPole
from keras_rl_prob.envs.native.mountain_car import MountainCar
from keras_rl_prob.envs.native.mountain_car_continuous import MountainCarContinuous
from keras_rl_prob.envs.native.native_env import NativeEnv, NativeState
from keras_rl_prob.envs.native.no_velocity import (
    AcrobotNoVel,
    CartPoleNoVel,
    MountainCarContinuousNoVel,
    MountainCarNoVel,
    PendulumNoVel,
)
from keras_rl_prob.envs.native.pendulum import Pendulum
from keras_rl_prob.envs.native.recall import Recall
from keras_rl_prob.envs.native.registry import make_native, native_ids

__all__ = [
    "Acrobot",
    "AcrobotNoVel",
    "CartPole",
    "CartPoleNoVel",
    "MountainCar",
    "MountainCarContinuous",
    "MountainCarContinuousNoVel",
    "MountainCarNoVel",
    "NativeEnv",
    "NativeState",
    "Pendulum",
    "PendulumNoVel",
    "Recall",
    "make_native",
    "native_ids",
]
