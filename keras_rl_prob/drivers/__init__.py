"""The in-graph loop between agent and environment, and a `tf.data` source of its rollouts."""

from keras_rl_prob.drivers.driver import Driver, Rollout, make_driver
from keras_rl_prob.drivers.episode_driver import EpisodeDriver
from keras_rl_prob.drivers.evaluation import play_episodes
from keras_rl_prob.drivers.source import rollout_source
from keras_rl_prob.drivers.statistics import EpisodeStatistics

__all__ = ["Driver", "EpisodeDriver", "EpisodeStatistics", "Rollout", "make_driver", "play_episodes", "rollout_source"]
