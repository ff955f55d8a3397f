"""All presets."""

from keras_rl_prob.catalog import (
    action_value_settings,
    atari_settings,
    control_settings,
    doom_settings,
    native_settings,
)

FILES = native_settings, action_value_settings, atari_settings, control_settings, doom_settings
PRESETS = {name: settings for file in FILES for name, settings in file.SETTINGS.items()}
"""Dict from the names of presets to configurations in the form that `krp.presets.check` describes."""
