"""All presets."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from keras_rl_prob.catalog import (
    action_value_settings,
    actor_critic_settings,
    atari_settings,
    control_settings,
    doom_settings,
    native_settings,
)


def read_only(entries: Mapping[str, Any]) -> Mapping[str, Any]:
    """A view of nested dicts that cannot be changed."""
    return MappingProxyType({key: read_only(x) if isinstance(x, Mapping) else x for key, x in entries.items()})


FILES = native_settings, action_value_settings, actor_critic_settings, atari_settings, control_settings, doom_settings
PRESETS = read_only({name: settings for file in FILES for name, settings in file.SETTINGS.items()})
"""Read-only mapping from the names of presets to configurations in the form that `krp.presets.check` describes."""
