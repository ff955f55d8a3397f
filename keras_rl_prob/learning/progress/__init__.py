"""What `fit` and `evaluate` tell: their progress in one line that fits into the window, and hints."""

from keras_rl_prob.learning.progress.callback import Progress, end_line, with_progress
from keras_rl_prob.learning.progress.step_rate import StepRate

__all__ = ["Progress", "StepRate", "end_line", "with_progress"]
