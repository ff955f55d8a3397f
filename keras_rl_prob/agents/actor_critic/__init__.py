"""Agents that learn a policy and critics of its actions from a replay buffer."""

from keras_rl_prob.agents.actor_critic.recurrent_sac import RecurrentSAC
from keras_rl_prob.agents.actor_critic.recurrent_td3 import RecurrentTD3
from keras_rl_prob.agents.actor_critic.sac import SAC
from keras_rl_prob.agents.actor_critic.settings import LearnedTemperature
from keras_rl_prob.agents.actor_critic.td3 import TD3

__all__ = ["SAC", "TD3", "LearnedTemperature", "RecurrentSAC", "RecurrentTD3"]
