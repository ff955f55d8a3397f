"""What there is by name, as plain data that are read without TensorFlow: presets and native environments."""

from keras_rl_prob.catalog.environments import NATIVE
from keras_rl_prob.catalog.presets import PRESETS

__all__ = ["NATIVE", "PRESETS"]
