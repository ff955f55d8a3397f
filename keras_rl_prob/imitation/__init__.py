"""Learning from the play of others: recorded episodes, scripts and other agents."""

from keras_rl_prob.imitation.behavior_cloning import BehaviorCloning

__all__ = ["BehaviorCloning"]
