"""Agents: `keras.Model`s that learn from environments."""

from keras_rl_prob.agents.a2c import A2C
from keras_rl_prob.agents.agent import Agent
from keras_rl_prob.agents.dqn import DQN
from keras_rl_prob.agents.exploration import Boltzmann, EpsilonGreedy
from keras_rl_prob.agents.kl_penalty import KLPenalty
from keras_rl_prob.agents.linear_q import LinearQ
from keras_rl_prob.agents.ppo import PPO
from keras_rl_prob.agents.prioritized_replay import PrioritizedReplay
from keras_rl_prob.agents.random_agent import RandomAgent
from keras_rl_prob.agents.recurrent_dqn import RecurrentDQN
from keras_rl_prob.agents.recurrent_ppo import RecurrentPPO
from keras_rl_prob.agents.reinforce import Reinforce
from keras_rl_prob.agents.weights import average_weights, copy_weights
from keras_rl_prob.deployment.policy import Policy

__all__ = [
    "A2C",
    "DQN",
    "PPO",
    "Agent",
    "Boltzmann",
    "EpsilonGreedy",
    "KLPenalty",
    "LinearQ",
    "Policy",
    "PrioritizedReplay",
    "RandomAgent",
    "RecurrentDQN",
    "RecurrentPPO",
    "Reinforce",
    "average_weights",
    "copy_weights",
]
