"""Agents that learn the values of actions."""

from keras_rl_prob.agents.value_based.base import QLearning
from keras_rl_prob.agents.value_based.c51 import C51
from keras_rl_prob.agents.value_based.dqn import DQN
from keras_rl_prob.agents.value_based.exploration import Boltzmann, EpsilonGreedy
from keras_rl_prob.agents.value_based.linear_q import LinearQ
from keras_rl_prob.agents.value_based.qr_dqn import QRDQN
from keras_rl_prob.agents.value_based.recurrent_dqn import RecurrentDQN

__all__ = ["C51", "DQN", "QRDQN", "Boltzmann", "EpsilonGreedy", "LinearQ", "QLearning", "RecurrentDQN"]
