"""Sources, which collect rollouts and turn them into the data of gradient steps."""

from keras_rl_prob.sources.collectors import Collectors, register_collectors
from keras_rl_prob.sources.lagged import LaggedSource
from keras_rl_prob.sources.on_policy import OnPolicySource
from keras_rl_prob.sources.online import OnlineSource
from keras_rl_prob.sources.past_rollouts import PastRolloutsSource
from keras_rl_prob.sources.play import PlaySource
from keras_rl_prob.sources.replay import ReplaySource
from keras_rl_prob.sources.rollouts import RolloutSource
from keras_rl_prob.sources.sequences import SequenceSource

__all__ = [
    "Collectors",
    "LaggedSource",
    "OnPolicySource",
    "OnlineSource",
    "PastRolloutsSource",
    "PlaySource",
    "ReplaySource",
    "RolloutSource",
    "SequenceSource",
    "register_collectors",
]
