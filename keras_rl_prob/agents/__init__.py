"""Agents: `keras.Model`s that learn from environments."""

from keras_rl_prob.agents.agent import Agent
from keras_rl_prob.agents.kl_penalty import KLPenalty
from keras_rl_prob.agents.policy import Policy
from keras_rl_prob.agents.ppo import PPO
from keras_rl_prob.agents.recurrent_ppo import RecurrentPPO

__all__ = ["PPO", "Agent", "KLPenalty", "Policy", "RecurrentPPO"]
