"""Imports TensorFlow without its log messages, if `TF_CPP_MIN_LOG_LEVEL` is 2 or more, and in the command line.

TensorFlow logs before it reads that variable (https://github.com/tensorflow/tensorflow/issues/100442), so standard error is
redirected during the import. This module must be imported before Keras.
"""

import os
import pathlib
import shutil
import sys
import tempfile

LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def import_tensorflow() -> None:
    """Imports TensorFlow; its log messages are shown if `TF_CPP_MIN_LOG_LEVEL` is below 2, or if the import fails."""
    program = pathlib.Path(*sys.argv[:1]).stem  # "-m" while `python -m keras_rl_prob` looks for its module
    if program in ("-m", "keras-rl-prob"):
        os.environ.setdefault(LEVEL, "3")
    if os.environ.get(LEVEL, "0") < "2" or sys.__stderr__ is None:
        return
    with tempfile.TemporaryFile() as log:
        stderr = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            import tensorflow  # noqa: F401, PLC0415
        except BaseException:
            log.seek(0)
            with os.fdopen(stderr, "wb", closefd=False) as terminal:
                shutil.copyfileobj(log, terminal)
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


import_tensorflow()
