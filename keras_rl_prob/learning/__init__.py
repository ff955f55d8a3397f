"""Gradient steps, what is reported of them, and where a training stands."""

from keras_rl_prob.learning.model import LearningModel
from keras_rl_prob.learning.parts import Part, variables_of

__all__ = ["LearningModel", "Part", "variables_of"]
