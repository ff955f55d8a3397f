"""Gymnasium wrappers that are missing in Gymnasium."""

from keras_rl_prob.envs.wrappers.action_mask import ActionMask
from keras_rl_prob.envs.wrappers.check_finite import CheckFinite
from keras_rl_prob.envs.wrappers.check_observation import CheckObservation
from keras_rl_prob.envs.wrappers.episodes import EpisodicLife, FinalReward
from keras_rl_prob.envs.wrappers.history import FrameDelta, FrameHistory
from keras_rl_prob.envs.wrappers.mask_velocity import MaskVelocity
from keras_rl_prob.envs.wrappers.normalize_range import NormalizeRange
from keras_rl_prob.envs.wrappers.starts import FireReset, RandomStart

__all__ = [
    "ActionMask",
    "CheckFinite",
    "CheckObservation",
    "EpisodicLife",
    "FinalReward",
    "FireReset",
    "FrameDelta",
    "FrameHistory",
    "MaskVelocity",
    "NormalizeRange",
    "RandomStart",
]
