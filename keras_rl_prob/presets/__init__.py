"""Presets, configurations that are known to learn, as dicts; and agents made from configurations."""

from keras_rl_prob.presets.catalog import get, names
from keras_rl_prob.presets.configuration import assign, check
from keras_rl_prob.presets.construction import build, complete, make_env

__all__ = ["assign", "build", "check", "complete", "get", "make_env", "names"]
