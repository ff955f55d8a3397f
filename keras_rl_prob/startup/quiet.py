"""Imports TensorFlow without its log messages, unless `TF_CPP_MIN_LOG_LEVEL` asks for them or TensorFlow is imported already.

TensorFlow logs before it reads that variable (https://github.com/tensorflow/tensorflow/issues/100442), so standard error is
redirected during the import.
"""

import os
import shutil
import sys
import tempfile

LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def import_tensorflow() -> None:
    """Imports TensorFlow; its log messages are shown if `TF_CPP_MIN_LOG_LEVEL` is below 2, or if the import fails."""
    if "tensorflow" in sys.modules:
        return
    if os.environ.setdefault(LEVEL, "3") < "2" or sys.__stderr__ is None:
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
