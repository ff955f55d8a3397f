"""Gradient steps, what is reported of them, and where a training stands."""

from keras_rl_prob.learning.model import LearningModel

__all__ = ["LearningModel"]
