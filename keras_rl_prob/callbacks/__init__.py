"""Keras callbacks that watch an agent: its learning curve and what it looks like."""

from keras_rl_prob.callbacks.plot_learning_curve import PlotLearningCurve
from keras_rl_prob.callbacks.record_video import RecordVideo

__all__ = ["PlotLearningCurve", "RecordVideo"]
