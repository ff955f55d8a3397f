"""Agents: `keras.Model`s that learn from environments."""

from keras_rl_prob.agents.actor_critic import SAC, TD3, LearnedTemperature, RecurrentSAC, RecurrentTD3
from keras_rl_prob.agents.agent import Agent
from keras_rl_prob.agents.policy_gradient import (
    A2C,
    A3C,
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
from keras_rl_prob.agents.value_based import C51, DQN, QRDQN, Boltzmann, EpsilonGreedy, LinearQ, RecurrentDQN
from keras_rl_prob.deployment.policy import Policy
from keras_rl_prob.layers import Normalization
from keras_rl_prob.learning.progress.hints import TrainingHint
from keras_rl_prob.networks.weights import average_weights, copy_weights
from keras_rl_prob.replay.settings import (
    PrioritizedReplay,
    ReplaySettings,
    RolloutReplaySettings,
    SequenceReplaySettings,
)

__all__ = [
    "A2C",
    "A3C",
    "ACER",
    "C51",
    "DQN",
    "IMPALA",
    "PPO",
    "QRDQN",
    "SAC",
    "TD3",
    "Agent",
    "Boltzmann",
    "Clipping",
    "EpsilonGreedy",
    "KLPenalty",
    "LearnedTemperature",
    "LinearQ",
    "Minibatches",
    "Normalization",
    "Policy",
    "PrioritizedReplay",
    "RandomAgent",
    "RecurrentDQN",
    "RecurrentPPO",
    "RecurrentSAC",
    "RecurrentTD3",
    "Reinforce",
    "ReplaySettings",
    "RolloutReplaySettings",
    "SequenceReplaySettings",
    "TrainingHint",
    "VTrace",
    "ValueLoss",
    "average_weights",
    "copy_weights",
]
