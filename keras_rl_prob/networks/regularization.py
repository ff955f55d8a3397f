"""Regularisation of networks that are already made."""

import fnmatch
from collections.abc import Iterator, Mapping

import keras

from keras_rl_prob import checks
from keras_rl_prob.keras_internals import layers_of


def regularize(
    network: keras.Model,
    coefficients: float | keras.regularizers.Regularizer | Mapping[str, float | keras.regularizers.Regularizer],
) -> keras.Model:
    """Adds regularisation losses to the kernels of a network's layers: `coefficient * sum(w^2)`; biases are left alone.

    It sets `kernel_regularizer` (of recurrent cells `recurrent_regularizer`, too) of layers that are already made, as those of
    default networks are. The regularizers are saved with the network, and agents add their losses to that of the network.

    Args:
        network: A built Keras model.
        coefficients: A number for all kernels, or a dict from names of layers to numbers; names may be patterns, as in
            `"dense*"`, and the first one that fits a layer counts. A Keras regularizer may take the place of a number.

    Returns:
        The network.

    Raises:
        ValueError: A number is negative, or a name fits no layer with a kernel.

    Example:
    >>> network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, kernel_initializer="ones")])
    >>> round(float(regularize(network, 0.1).losses[0]), 4)  # 0.1 * 2 * 3
    0.6
    """
    layers = [layer for layer in layers_of(checks.model("network", network)) if list(_kernels(layer))]
    given = coefficients if isinstance(coefficients, Mapping) else {"*": coefficients}
    terms = {
        name: x
        if isinstance(x, keras.regularizers.Regularizer)
        else keras.regularizers.L2(checks.number("coefficients", x))
        for name, x in given.items()
    }
    fitting = {
        layer.name: [name for name in terms if fnmatch.fnmatchcase(layer.name, str(name))][:1] for layer in layers
    }
    unused = sorted(name for name in terms if not any(fnmatch.fnmatchcase(layer, str(name)) for layer in fitting))
    if unused:
        raise ValueError(
            f"`coefficients` must name layers that have kernels, of {list(fitting)}. Received: {unused} among the names"
        )
    for layer in layers:
        for name in fitting[layer.name]:
            for kernel, argument in _kernels(layer):
                kernel.regularizer = terms[name]
                setattr(layer, argument, terms[name])
    return network


def _kernels(layer: keras.layers.Layer) -> Iterator[tuple[keras.Variable, str]]:
    """Pairs of a layer's own kernel and the name of the argument with its regularizer."""
    for variable in layer.trainable_variables:
        if variable.name.endswith("kernel"):
            argument = f"{variable.name.removesuffix('kernel').strip('_') or 'kernel'}_regularizer"
            if argument in vars(layer):
                yield variable, argument
