"""Environments: native TensorFlow ones, adapters for Gymnasium's with the same functional interface, wrappers, registration."""

from keras_rl_prob.envs.factory import in_processes, is_owned, make, opened, spaces_of, with_previous_step
from keras_rl_prob.envs.games import GFootballEnv
from keras_rl_prob.envs.gymnasium_env import GymnasiumEnv
from keras_rl_prob.envs.gymnasium_ids import make_one, spec
from keras_rl_prob.envs.native import NativeEnv, make_native, native_ids
from keras_rl_prob.envs.playing import Keyboard, play, play_manual
from keras_rl_prob.envs.recording import record_episodes
from keras_rl_prob.envs.registration import register_environments
from keras_rl_prob.envs.remote import EnvServer, RemoteEnv, serve
from keras_rl_prob.envs.wrappers import (
    ActionMask,
    CheckFinite,
    CheckObservation,
    EpisodicLife,
    FinalReward,
    FireReset,
    FrameDelta,
    FrameHistory,
    MaskVelocity,
    NormalizeRange,
    RandomStart,
)

__all__ = [
    "ActionMask",
    "CheckFinite",
    "CheckObservation",
    "EnvServer",
    "EpisodicLife",
    "FinalReward",
    "FireReset",
    "FrameDelta",
    "FrameHistory",
    "GFootballEnv",
    "GymnasiumEnv",
    "Keyboard",
    "MaskVelocity",
    "NativeEnv",
    "NormalizeRange",
    "RandomStart",
    "RemoteEnv",
    "in_processes",
    "is_owned",
    "make",
    "make_native",
    "make_one",
    "native_ids",
    "opened",
    "play",
    "play_manual",
    "record_episodes",
    "register_environments",
    "serve",
    "spaces_of",
    "spec",
    "with_previous_step",
]
