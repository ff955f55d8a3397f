"""What tests share: fixtures, and the settings of libraries. A plugin, because it needs TensorFlow: see `conftest.py`."""

import keras_rl_prob  # noqa: F401  # isort: skip  # before Keras: it keeps TensorFlow quiet

import gc
import os

import keras
import pytest
import tensorflow as tf
from tensorflow.python.eager.polymorphic_function import tracing_compilation
from tensorflow.python.util import tf_stack

tf.debugging.disable_traceback_filtering()  # which takes a tenth of the time of tracing
keras.config.disable_traceback_filtering()
HERE = tf_stack.extract_stack()
tf_stack.extract_stack = lambda stacklevel=1: HERE  # of each operation where it was made, another tenth
tf.random.set_seed(0)
tf.random.set_seed = lambda seed: None  # it drops all kernels; nothing here draws from the random numbers that it seeds
if os.environ["XLA_FLAGS"]:  # graphs are optimised in `make test-learning`, and in tests that start processes
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Fixtures of modules have the same random numbers, whatever ran before them in their process; for tests: `_seeded`."""
    keras.utils.set_random_seed(0)


def pytest_collection_finish():
    """Leaves the modules and tests that are there to the end out of the garbage collector's searches."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def make_plain_matrices():
    """What patches the orthogonal matrices of large layers, which take a second each: other random ones in their place."""

    def plain(initializer, shape, dtype=None):
        return initializer.gain * keras.initializers.GlorotUniform(initializer.seed)(shape, dtype)

    return lambda patch: patch.setattr(keras.initializers.Orthogonal, "__call__", plain)


@pytest.fixture
def plain_matrices(make_plain_matrices, monkeypatch):
    """Lets a test that only needs some weights begin sooner."""
    make_plain_matrices(monkeypatch)


@pytest.fixture(scope="session")
def traces():
    """Names of the functions that TensorFlow has traced, a list that goes on; to be cleared by whoever counts."""
    names, create = [], tracing_compilation._create_concrete_function

    def counted(function_type, type_context, graph, options):
        names.append(options.name)
        return create(function_type, type_context, graph, options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing_compilation, "_create_concrete_function", counted)
        yield names
