"""Copying weights, between models or by layer name, and averaging them."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_rl_prob import checks
from keras_rl_prob.keras_internals import layers_of


def copy_weights(source: keras.Model, target: keras.Model) -> list[str]:
    """Copies weights between the layers of two models that have the same name.

    This lets an agent start from a supervised model.

    Args:
        source: Keras model with finite weights; an agent's is `agent.network`.
        target: Keras model.

    Returns:
        List of the names of the layers that were copied.

    Raises:
        TypeError: `source` or `target` is not a model.
        ValueError: No layer with weights has the same name in both, or such layers have different shapes or weights that are
            not finite, or a model has not been built. Nothing is copied then.

    Example:
    ```python
    classifier.fit(observations, actions)
    agent.build(env)
    krp.copy_weights(classifier, agent.network)
    ```
    """
    for name, model in (("source", source), ("target", target)):
        checks.model(name, model)
    layers = {layer.name: layer for layer in source.layers if layer.weights}
    shared = [(layers[layer.name], layer) for layer in target.layers if layer.weights and layer.name in layers]
    for one, other in shared:
        shapes = [[tuple(w.shape) for w in layer.weights] for layer in (one, other)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"Layers of the same name must have weights of the same shapes. Received: {one.name!r} with "
                f"{shapes[0]} and {shapes[1]}"
            )
        _check_finite("source", one)
    if not shared:
        raise ValueError(
            "`source` and `target` must share the names of layers with weights. "
            f"Received: {sorted(layers)} and {[layer.name for layer in target.layers if layer.weights]}"
        )
    for one, other in shared:
        other.set_weights(one.get_weights())
        use_weights(other)
    return [layer.name for layer, _ in shared]


def use_weights(layer: keras.layers.Layer) -> None:
    """Lets all layers within a layer or model use weights that were set.

    Layers that are adapted to data, such as `keras.layers.Normalization`, compute with constants made from their weights; Keras
    renews these only after `adapt`, and when it reads a file.
    """
    for inner in layers_of(layer):
        if hasattr(inner, "finalize_state"):
            inner.finalize_state()


def take_weights(target: keras.Model, source: keras.Model) -> None:
    """Gives a model of the same structure the weights of another one, so that both compute the same."""
    target.set_weights(source.get_weights())
    use_weights(target)


def average_weights(models: Sequence[keras.Model]) -> list[np.ndarray]:
    """Returns the mean of the weights of several models of the same structure.

    Args:
        models: List of Keras models with finite weights.

    Returns:
        List of arrays, for `set_weights`. Integers, such as counters, are those of the first model.

    Raises:
        TypeError: `models` is not a list of models.
        ValueError: The models have weights of different shapes or weights that are not finite, or have not been built.

    Example:
    ```python
    agent.network.set_weights(krp.average_weights([one.network, other.network]))
    ```
    """
    if not isinstance(models, list | tuple):
        raise TypeError(f"`models` must be a list of Keras models. Received: models={models!r}")
    for index, model in enumerate(models):
        _check_finite(f"models[{index}]", checks.model(f"models[{index}]", model))
    weights = [model.get_weights() for model in models]
    shapes = [[w.shape for w in each] for each in weights]
    if not models or any(each != shapes[0] for each in shapes):
        raise ValueError(f"`models` must have weights of the same shapes. Received: {shapes}")
    return average_of(weights)


def average_of(weights: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """The means of several lists of arrays of the same shapes; integers are those of the first list."""
    return [
        np.mean(same, 0, dtype=same[0].dtype) if keras.backend.is_float_dtype(str(same[0].dtype)) else same[0]
        for same in zip(*weights, strict=True)
    ]


def _check_finite(name, layer):
    """Raises a `ValueError` if a model or a layer has a weight that is not finite: it could not learn."""
    for variable in layer.weights:
        if keras.backend.is_float_dtype(variable.dtype) and not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
            raise ValueError(f"`{name}` must have finite weights. Received: {variable.path!r} with others")
