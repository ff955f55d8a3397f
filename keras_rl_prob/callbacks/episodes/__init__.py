"""Callbacks that play an episode during training: they record it or show it."""

from keras_rl_prob.callbacks.episodes.record_episode import record_episode
from keras_rl_prob.callbacks.episodes.record_video import RecordVideo
from keras_rl_prob.callbacks.episodes.watch_episode import WatchEpisode

__all__ = ["RecordVideo", "WatchEpisode", "record_episode"]
