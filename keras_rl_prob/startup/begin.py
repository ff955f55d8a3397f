"""What happens when the package is imported, in this order; it must be imported before Keras.

The command line answers what needs no TensorFlow, whose import takes seconds: help, errors of arguments, `list`. Then XLA is
told where to keep what it compiles, and TensorFlow is imported without its log messages, and with the convolutions of oneDNN.
"""

import multiprocessing
import os
import pathlib
import platform
import sys

from keras_rl_prob.startup import compilation_cache
from keras_rl_prob.startup.quiet import import_tensorflow
from keras_rl_prob.usage import answer_at_once


def is_command_line() -> bool:
    """Whether this process is the program `keras-rl-prob` or `python -m keras_rl_prob`, and not one of its workers."""
    if multiprocessing.parent_process():
        return False
    program = pathlib.Path(*sys.argv[:1]).stem
    if program == "-m":  # while Python looks for the module, whose name is before the arguments
        return sys.orig_argv[-len(sys.argv)].removeprefix("-m") in ("keras_rl_prob", "keras_rl_prob.__main__")
    return program == "keras-rl-prob"


if is_command_line():
    answer_at_once(sys.argv[1:])
if platform.machine() in ("x86_64", "AMD64"):  # TensorFlow leaves them out on processors without AVX-512
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
compilation_cache.start()
import_tensorflow()
