"""Agents: `keras.Model`s that learn from environments."""

from keras_rl_prob.agents.agent import Agent
from keras_rl_prob.agents.policy_gradient import (
    A2C,
    ACER,
    IMPALA,
    PPO,
    Clipping,
    KLPenalty,
    Minibatches,
    RecurrentPPO,
    Reinforce,
    ValueLoss,
    VTrace,
)
from keras_rl_prob.agents.random_agent import RandomAgent
from keras_rl_prob.agents.value_based import DQN, Boltzmann, EpsilonGreedy, LinearQ, RecurrentDQN
from keras_rl_prob.agents.weights import average_weights, copy_weights
from keras_rl_prob.deployment.policy import Policy
from keras_rl_prob.layers import Normalization
from keras_rl_prob.replay.settings import (
    PrioritizedReplay,
    ReplaySettings,
    RolloutReplaySettings,
    SequenceReplaySettings,
)

__all__ = [
    "A2C",
    "ACER",
    "DQN",
    "IMPALA",
    "PPO",
    "Agent",
    "Boltzmann",
    "Clipping",
    "EpsilonGreedy",
    "KLPenalty",
    "LinearQ",
    "Minibatches",
    "Normalization",
    "Policy",
    "PrioritizedReplay",
    "RandomAgent",
    "RecurrentDQN",
    "RecurrentPPO",
    "Reinforce",
    "ReplaySettings",
    "RolloutReplaySettings",
    "SequenceReplaySettings",
    "VTrace",
    "ValueLoss",
    "average_weights",
    "copy_weights",
]
