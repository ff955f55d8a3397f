"""Random features whose inner products approximate a kernel."""

from typing import Any

import keras
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.types import Shape


@keras.saving.register_keras_serializable("keras_rl_prob")
class FourierFeatures(keras.layers.Layer):
    """`scale * cos(x W + b)` with random weights that are not trained.

    With `W ~ N(0, 2 gamma)`, `b ~ U(0, 2 pi)` and `scale = sqrt(2 / units)`, inner products of features approximate
    `exp(-gamma |x - y|^2)`; the layer initialises them for gamma 1. Other weights, such as those of scikit-learn's
    `RBFSampler`, can be set with `set_weights([W, b])`.

    Args:
        units: Number of features.
        scale: Factor of the cosines; `None` is `sqrt(2 / units)`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    References:
        Rahimi and Recht, "Random features for large-scale kernel machines", 2007.

    Example:
        >>> FourierFeatures(100)(tf.ones([2, 4])).shape
        TensorShape([2, 100])
    """

    def __init__(self, units: int, scale: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = checks.integer("units", units)
        self.scale = checks.number("scale", scale, above=0.0, none=True)

    def build(self, input_shape: Shape) -> None:
        """Creates the random weights."""
        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.units),
            initializer=keras.initializers.RandomNormal(stddev=2.0**0.5),
            trainable=False,
            name="kernel",
        )
        self.offset = self.add_weight(
            shape=(self.units,),
            initializer=keras.initializers.RandomUniform(0.0, 6.283185307179586),
            trainable=False,
            name="offset",
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns float `[..., units]`."""
        scale = (2.0 / self.units) ** 0.5 if self.scale is None else self.scale
        return scale * tf.cos(tf.matmul(inputs, self.kernel) + self.offset)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns `[..., units]`."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "units": self.units, "scale": self.scale}
