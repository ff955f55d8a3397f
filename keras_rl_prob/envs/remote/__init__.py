"""Environments over HTTP: a server, and a client that is a `gymnasium.Env`."""

from keras_rl_prob.envs.remote.remote_env import RemoteEnv
from keras_rl_prob.envs.remote.server import EnvServer, serve

__all__ = ["EnvServer", "RemoteEnv", "serve"]
