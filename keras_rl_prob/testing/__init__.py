"""Environments with known answers: scripted episodes, and small tasks that need exactly one ability."""

from keras_rl_prob.testing.scripted_env import ScriptedEnv
from keras_rl_prob.testing.tasks import DictTask, HybridTask

__all__ = ["DictTask", "HybridTask", "ScriptedEnv"]
