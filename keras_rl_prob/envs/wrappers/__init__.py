"""Gymnasium wrappers that Gymnasium itself lacks."""

from keras_rl_prob.envs.wrappers.history import FrameDelta, FrameHistory
from keras_rl_prob.envs.wrappers.mask_velocity import MaskVelocity

__all__ = [
    "FrameDelta",
    "FrameHistory",
    "MaskVelocity",
]
