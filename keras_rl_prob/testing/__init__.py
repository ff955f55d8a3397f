"""Environments with known optimal returns, small tasks for one ability each, and checks of environments and agents."""

from keras_rl_prob.testing.agent_check import check_agent
from keras_rl_prob.testing.env_check import check_env
from keras_rl_prob.testing.scripted_env import ScriptedEnv
from keras_rl_prob.testing.tasks import DictTask, HybridTask

__all__ = ["DictTask", "HybridTask", "ScriptedEnv", "check_agent", "check_env"]
