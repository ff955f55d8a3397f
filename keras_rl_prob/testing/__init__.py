"""Environments with known answers, small tasks that need exactly one ability, and a check of your own environments."""

from keras_rl_prob.testing.env_check import check_env
from keras_rl_prob.testing.scripted_env import ScriptedEnv
from keras_rl_prob.testing.tasks import DictTask, HybridTask

__all__ = ["DictTask", "HybridTask", "ScriptedEnv", "check_env"]
