"""Games that come with libraries of their own."""

from keras_rl_prob.envs.games.gfootball import GFootballEnv

__all__ = ["GFootballEnv"]
