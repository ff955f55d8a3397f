"""Distributions of actions, on top of TensorFlow Probability."""

from keras_rl_prob.distributions.action_parts import ActionParts
from keras_rl_prob.distributions.bounded_normal import BoundedNormal
from keras_rl_prob.distributions.joint import Joint
from keras_rl_prob.distributions.joint_actions import JointActions

__all__ = ["ActionParts", "BoundedNormal", "Joint", "JointActions"]
