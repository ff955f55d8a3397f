"""Gymnasium wrappers that Gymnasium itself lacks."""

from keras_rl_prob.envs.wrappers.check_finite import CheckFinite
from keras_rl_prob.envs.wrappers.history import FrameDelta, FrameHistory
from keras_rl_prob.envs.wrappers.mask_velocity import MaskVelocity
from keras_rl_prob.envs.wrappers.normalize_range import NormalizeRange

__all__ = [
    "CheckFinite",
    "FrameDelta",
    "FrameHistory",
    "MaskVelocity",
    "NormalizeRange",
]
