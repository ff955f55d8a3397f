"""Replay buffers: ring buffers in variables, priorities, settings."""

from keras_rl_prob.replay.prioritized import Prioritized
from keras_rl_prob.replay.ring import Ring
from keras_rl_prob.replay.sum_tree import SumTree

__all__ = ["Prioritized", "Ring", "SumTree"]
