"""Pictures of learning curves and of exploration, by Matplotlib."""

from keras_rl_prob.callbacks.plots.plot_exploration import plot_exploration
from keras_rl_prob.callbacks.plots.plot_learning_curve import PlotLearningCurve
from keras_rl_prob.callbacks.plots.plot_learning_curves import plot_learning_curves

__all__ = ["PlotLearningCurve", "plot_exploration", "plot_learning_curves"]
