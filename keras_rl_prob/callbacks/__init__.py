"""Keras callbacks for agents: evaluation, videos, logs and plots, backups, and a limit of environment steps."""

from keras_rl_prob.callbacks.backup import Backup
from keras_rl_prob.callbacks.best_checkpoint import BestCheckpoint
from keras_rl_prob.callbacks.env_step_limit import EnvStepLimit
from keras_rl_prob.callbacks.episode_window import EpisodeWindow
from keras_rl_prob.callbacks.episodes import RecordVideo, WatchEpisode, record_episode
from keras_rl_prob.callbacks.evaluate_return import EvaluateReturn
from keras_rl_prob.callbacks.inline import show_curve, show_episode
from keras_rl_prob.callbacks.plots import PlotLearningCurve, plot_exploration, plot_learning_curves
from keras_rl_prob.callbacks.rollout_histograms import RolloutHistograms
from keras_rl_prob.callbacks.run_log import RunLog
from keras_rl_prob.callbacks.stop_on_signal import StopOnSignal

__all__ = [
    "Backup",
    "BestCheckpoint",
    "EnvStepLimit",
    "EpisodeWindow",
    "EvaluateReturn",
    "PlotLearningCurve",
    "RecordVideo",
    "RolloutHistograms",
    "RunLog",
    "StopOnSignal",
    "WatchEpisode",
    "plot_exploration",
    "plot_learning_curves",
    "record_episode",
    "show_curve",
    "show_episode",
]
