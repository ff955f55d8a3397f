"""Imports TensorFlow without its log messages, unless `TF_CPP_MIN_LOG_LEVEL` asks for them or TensorFlow is imported already.

Before that, the command line answers what needs no TensorFlow, whose import takes seconds: help, errors of arguments, `list`.
TensorFlow logs before it reads that variable (https://github.com/tensorflow/tensorflow/issues/100442), so standard error is
redirected during the import. This module must be imported before Keras.
"""

import multiprocessing
import os
import pathlib
import shutil
import sys
import tempfile

from keras_rl_prob.usage import answer_at_once

LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def is_command_line() -> bool:
    """Whether this process is the program `keras-rl-prob` or `python -m keras_rl_prob`, and not one of its workers."""
    if multiprocessing.parent_process():
        return False
    program = pathlib.Path(*sys.argv[:1]).stem
    if program == "-m":  # while Python looks for the module, whose name is before the arguments
        return sys.orig_argv[-len(sys.argv)].removeprefix("-m") in ("keras_rl_prob", "keras_rl_prob.__main__")
    return program == "keras-rl-prob"


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


if is_command_line():
    answer_at_once(sys.argv[1:])
import_tensorflow()
