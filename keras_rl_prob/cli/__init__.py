"""The command line: `keras-rl-prob`, or `python -m keras_rl_prob`."""

from keras_rl_prob.cli.commands.experiment import experiment
from keras_rl_prob.cli.program import main

__all__ = ["experiment", "main"]
