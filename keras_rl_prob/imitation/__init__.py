"""Learning from the play of others: recorded episodes, scripts and other agents."""

from keras_rl_prob.imitation.behavior_cloning import BehaviorCloning
from keras_rl_prob.imitation.bots import Bots
from keras_rl_prob.imitation.recorded import Recorded

__all__ = ["BehaviorCloning", "Bots", "Recorded"]
