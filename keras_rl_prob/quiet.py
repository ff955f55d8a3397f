"""TensorFlow imported without its chatter, if that is wanted: by `TF_CPP_MIN_LOG_LEVEL`, or because a program was started.

TensorFlow logs before it reads that variable (https://github.com/tensorflow/tensorflow/issues/100442), so the standard error
is turned away meanwhile. This module must be imported before Keras is.
"""

import os
import pathlib
import shutil
import sys
import tempfile

LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def import_tensorflow() -> None:
    """Imports TensorFlow; what it logs is shown if `TF_CPP_MIN_LOG_LEVEL` is below 2, or if the import fails."""
    program = pathlib.Path(*sys.argv[:1]).stem  # "-m" while `python -m keras_rl_prob` looks for what to run
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
