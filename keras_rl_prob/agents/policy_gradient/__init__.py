"""Agents that learn a stochastic policy along its gradient."""

from keras_rl_prob.agents.policy_gradient.a2c import A2C
from keras_rl_prob.agents.policy_gradient.a3c import A3C
from keras_rl_prob.agents.policy_gradient.acer import ACER
from keras_rl_prob.agents.policy_gradient.base import PolicyGradient
from keras_rl_prob.agents.policy_gradient.impala import IMPALA
from keras_rl_prob.agents.policy_gradient.kl_penalty import KLPenalty
from keras_rl_prob.agents.policy_gradient.ppo import PPO
from keras_rl_prob.agents.policy_gradient.recurrent_ppo import RecurrentPPO
from keras_rl_prob.agents.policy_gradient.reinforce import Reinforce
from keras_rl_prob.agents.policy_gradient.settings import Clipping, Minibatches, ValueLoss, VTrace

__all__ = [
    "A2C",
    "A3C",
    "ACER",
    "IMPALA",
    "PPO",
    "Clipping",
    "KLPenalty",
    "Minibatches",
    "PolicyGradient",
    "RecurrentPPO",
    "Reinforce",
    "VTrace",
    "ValueLoss",
]
