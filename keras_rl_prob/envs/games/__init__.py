"""Games that need additional libraries."""

from keras_rl_prob.envs.games.gfootball import GFootballEnv

__all__ = ["GFootballEnv"]
