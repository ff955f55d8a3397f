"""What the command line takes and tells at once: arguments, help and lists, without the seconds that TensorFlow takes."""

from keras_rl_prob.usage.presets_table import presets_table
from keras_rl_prob.usage.program import COMMANDS, answer_at_once, parse

__all__ = ["COMMANDS", "answer_at_once", "parse", "presets_table"]
