"""The callbacks of a `fit`, made ready before anything is collected."""

from typing import Any

import keras

from keras_rl_prob.learning.progress import with_progress
from keras_rl_prob.learning.training import mend_backups

MONITORS = keras.callbacks.EarlyStopping, keras.callbacks.ModelCheckpoint, keras.callbacks.ReduceLROnPlateau
BEST = {"return": "max", "loss": "min"}  # by the end of what is monitored


def prepared(callbacks: Any, verbose: str | int, validation_freq: Any) -> list[keras.callbacks.Callback]:
    """The callbacks that Keras' `fit` gets: with a progress line, and backups and monitors made to work here.

    Raises:
        ValueError: It cannot be known whether what a callback monitors should be large or small, or a `ModelCheckpoint` would
            save epochs without a validation for the best.
    """
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        for callback in keras.tree.flatten(callbacks or []):
            if isinstance(callback, MONITORS):
                _set_direction(callback)
            if type(callback) is keras.callbacks.ModelCheckpoint and validation_freq != 1:
                _check_best(callback, validation_freq)
    mend_backups(callbacks)
    return with_progress(callbacks, verbose)


def _set_direction(callback):
    """Says whether a larger or a smaller number is better, where Keras would ask after the first epoch."""
    if callback.mode != "auto" or not getattr(callback, "save_best_only", True):
        return
    mode = next((mode for end, mode in BEST.items() if callback.monitor.endswith(end)), None)
    if mode is None:
        raise ValueError(
            f"`mode` of {type(callback).__name__} must say whether {callback.monitor!r} should be large or small: "
            '`mode="max"` or `mode="min"`. Received: mode="auto"'
        )
    callback.mode = mode


def _check_best(callback, validation_freq):
    if callback.save_best_only and callback.monitor.startswith("val_"):
        raise ValueError(
            f"Keras' `ModelCheckpoint` takes epochs without a validation for the best. Use "
            f"`krp.callbacks.BestCheckpoint({str(callback.filepath)!r})` with `validation_freq`, which passes them over. "
            f"Received: monitor={callback.monitor!r} and validation_freq={validation_freq!r}"
        )
