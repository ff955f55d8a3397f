"""All that is used here of Keras and that Keras does not promise; `tests/test_keras_internals.py` names what breaks.

Written against Keras 3.15. Each part says for what there is no public way.
"""

import pathlib
from collections.abc import Sequence

import keras

CACHED_VALIDATION = "_use_cached_eval_dataset"
"""Argument by which Keras' `fit` says to `evaluate` that the evaluation is its own validation, which is prepared already."""

BACKUP_FILES = "latest.weights.h5", "training_metadata.json"
"""What `BackupAndRestore` writes into its folder: the weights first, then a note of the epoch."""


def layers_of(model: keras.layers.Layer) -> list[keras.layers.Layer]:
    """List of all layers of a model, those of layers in it included: `model.layers` has only the outer ones."""
    return list(model._flatten_layers())


def put_first(model: keras.layers.Layer, layers: Sequence[keras.layers.Layer]) -> None:
    """Puts layers of a model before its others, in this order: files name layers by the order in which a model got them."""
    ranks = {id(layer): rank for rank, layer in enumerate(layers)}
    model._layers.sort(key=lambda layer: ranks.get(id(layer), len(ranks)))


def layer_behind(output: keras.KerasTensor) -> keras.layers.Layer:
    """The layer that a symbolic output of a Functional model comes from: models tell no way back from their outputs."""
    return output._keras_history.operation


def inputs_behind(output: keras.KerasTensor) -> list[keras.KerasTensor]:
    """The symbolic tensors that this layer was called with for this output."""
    layer, node, _ = output._keras_history
    return layer._inbound_nodes[node].input_tensors


def backup_weights(callback: keras.callbacks.BackupAndRestore) -> pathlib.Path:
    """Path of the weights of a `keras.callbacks.BackupAndRestore`."""
    return pathlib.Path(callback._weights_path)


class HookedModel(keras.Model):
    """A `keras.Model` with public hooks where Keras has private ones."""

    def after_build(self) -> None:
        """Called when `build` is through, that of a subclass included: a subclass cannot know whether it is the last."""

    def compiled_for(self, method: str | None) -> bool:
        """Whether a method needs no `compile`: here `evaluate` does not, which has no loss and no metrics of Keras'."""
        return method == "evaluate"

    @property
    def resumed_epoch(self) -> int | None:
        """Epoch at which `fit` starts after weights were restored, or `None`: Keras' own note of it may be older."""
        return None

    def _post_build(self):
        super()._post_build()
        self.after_build()

    def _assert_compile_called(self, method_name=None):
        if not self.compiled_for(method_name):
            super()._assert_compile_called(method_name)

    def _get_metrics_result_or_logs(self, logs):
        """The logs, also where they have the names of metrics, which are those of the training."""
        return logs

    @property
    def _initial_epoch(self):
        return self.resumed_epoch

    @_initial_epoch.setter
    def _initial_epoch(self, epoch):
        pass
