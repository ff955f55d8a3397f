"""Every use of private Keras API; `tests/test_keras_internals.py` checks each of them.

Written for Keras 3.15. Docstrings say what has no public API.
"""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence

import keras
from keras.src.backend.common import global_state

CACHED_VALIDATION = "_use_cached_eval_dataset"
"""Argument with which Keras' `fit` tells `evaluate` to use the validation data that it has prepared."""

BACKUP_FILES = "latest.weights.h5", "training_metadata.json"
"""The files of `BackupAndRestore` in its folder: the weights, which are written first, and the epoch."""

OUT_OF_DATA = "Your input ran out of data"
"""Start of the warning when `StopIteration`, from the data or a callback, ends an epoch: there is no other way to end one."""

EXCLUDED = "_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"
"""What `exclude_from_weight_decay` of an optimizer sets, which is not in its configuration."""


def layers_of(model: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns a list of all layers of a model, including nested ones: `model.layers` has only the outer ones."""
    return list(model._flatten_layers())


def seed_generators(model: keras.layers.Layer) -> list[keras.random.SeedGenerator]:
    """Returns a list of the random states of a model's layers, such as those of `Dropout`."""
    return [generator for layer in layers_of(model) for generator in layer._seed_generators]


def with_layer(model: keras.Model, old: keras.layers.Layer, new: keras.layers.Layer) -> keras.Model:
    """A Functional model of the layers of another one, but with `new` in place of the layer `old`: `clone_model` cannot."""
    like = keras.tree.map_structure(lambda x: keras.Input(x.shape[1:], dtype=x.dtype, name=x.name), model.input)
    outputs = model._run_through_graph(like, operation_fn=lambda layer: new if layer is old else layer)
    return keras.Model(like, outputs, name=model.name)


@contextlib.contextmanager
def objects_apart() -> Iterator[None]:
    """Context manager, in which configurations do not note that several objects share a layer.

    Keras makes one layer of what has such a note, but cannot make two Functional models that share a Functional model.
    """
    names = "shared_objects/id_to_obj_map", "shared_objects/id_to_config_map"
    kept = [global_state.get_global_attribute(name) for name in names]
    for name in names:
        global_state.set_global_attribute(name, None)
    try:
        yield
    finally:
        for name, value in zip(names, kept, strict=True):
            global_state.set_global_attribute(name, value)


def put_first(model: keras.layers.Layer, layers: Sequence[keras.layers.Layer]) -> None:
    """Moves layers of a model before its other layers, in the given order: names in files depend on the order of layers."""
    ranks = {id(layer): rank for rank, layer in enumerate(layers)}
    model._layers.sort(key=lambda layer: ranks.get(id(layer), len(ranks)))


def layer_behind(output: keras.KerasTensor) -> keras.layers.Layer:
    """Returns the layer that a symbolic output of a Functional model comes from: there is no public API for this."""
    return output._keras_history.operation


def inputs_behind(output: keras.KerasTensor) -> list[keras.KerasTensor]:
    """Returns the symbolic inputs with which the layer of `output` was called to compute it."""
    layer, node, _ = output._keras_history
    return layer._inbound_nodes[node].input_tensors


def backup_weights(callback: keras.callbacks.BackupAndRestore) -> pathlib.Path:
    """Returns the path of the weights file of a `keras.callbacks.BackupAndRestore`."""
    return pathlib.Path(callback._weights_path)


class HookedModel(keras.Model):
    """A `keras.Model` with public hooks where Keras has private ones."""

    def after_build(self) -> None:
        """Called after `build`, including that of subclasses: a class cannot know whether its `build` is the last one."""

    def compiled_for(self, method: str | None) -> bool:
        """Whether a method works without `compile`: `evaluate` does, since it uses no Keras loss or metrics."""
        return method == "evaluate"

    @property
    def resumed_epoch(self) -> int | None:
        """Epoch at which `fit` starts after weights were restored, or `None`: the one that Keras stores may be older."""
        return None

    def _post_build(self):
        super()._post_build()
        self.after_build()

    def _assert_compile_called(self, method_name=None):
        if not self.compiled_for(method_name):
            super()._assert_compile_called(method_name)

    def _get_metrics_result_or_logs(self, logs):
        """Returns the logs, even if metrics have the same names: those are metrics of training."""
        return logs

    @property
    def _initial_epoch(self):
        return self.resumed_epoch

    @_initial_epoch.setter
    def _initial_epoch(self, epoch):
        pass


def copy_of(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Returns an optimizer with the settings of another one, and its learning rate from then on, unless that is a schedule."""
    copy = type(optimizer).from_config(optimizer.get_config())
    one, two = (getattr(x, "inner_optimizer", x) for x in (optimizer, copy))
    if isinstance(one._learning_rate, keras.Variable):
        two._learning_rate = one._learning_rate  # a setter would copy its value
    for name in EXCLUDED:
        if hasattr(one, name):
            setattr(two, name, getattr(one, name))
    return copy


def have_one_learning_rate(optimizers: Sequence[keras.optimizers.Optimizer]) -> bool:
    """Whether optimizers are one and its copies by `copy_of`."""
    return len({id(getattr(x, "inner_optimizer", x)._learning_rate) for x in optimizers}) == 1
