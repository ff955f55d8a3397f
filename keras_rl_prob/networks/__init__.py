"""Default networks for an environment's spaces.

Their heads apply the observation's `"action_mask"`, if there is one; see `keras_rl_prob.masks` for its layout.
"""

from keras_rl_prob.networks.action_values import q_network
from keras_rl_prob.networks.critics import critic, deterministic_actor, shared_encoder, stochastic_actor
from keras_rl_prob.networks.encoder import encoder
from keras_rl_prob.networks.heads import heads
from keras_rl_prob.networks.linear import linear_q
from keras_rl_prob.networks.policies import actor_critic, feed_forward, nature_cnn, recurrent
from keras_rl_prob.networks.regularization import regularize

__all__ = [
    "actor_critic",
    "critic",
    "deterministic_actor",
    "encoder",
    "feed_forward",
    "heads",
    "linear_q",
    "nature_cnn",
    "q_network",
    "recurrent",
    "regularize",
    "shared_encoder",
    "stochastic_actor",
]
