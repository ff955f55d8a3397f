"""Policies outside of training: step by step in Python, and as files without this library."""

from keras_rl_prob.deployment.export import export_policy
from keras_rl_prob.deployment.policy import Policy, deterministic_actions

__all__ = ["Policy", "deterministic_actions", "export_policy"]
