"""Gradient steps of an agent's parts, checks for non-finite numbers, metrics; files and the training state."""

from keras_rl_prob.learning.model import LearningModel
from keras_rl_prob.learning.parts import Part, variables_of

__all__ = ["LearningModel", "Part", "variables_of"]
