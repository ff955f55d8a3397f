"""The heads of networks of action values."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.layers.dense_categorical import DenseCategorical
from keras_rl_prob.layers.head import MASKED_LOGIT
from keras_rl_prob.types import Nest, Shape


@keras.saving.register_keras_serializable("keras_rl_prob")
class QValues(DenseCategorical):
    """Head for the action values of a Discrete action space, a network's `"action"`; it has no weights.

    Its parameters are the values themselves. Its distribution is their softmax, whose mode is the greedy action.
    A masked action has the value -1e9: it is never chosen, not even in exploration, no target bootstraps from
    it, and it gets no gradient. A mask that allows no action counts as allowing all, so that the final observation of a
    truncated episode, whose mask often allows none, still has a value.

    Args:
        output_shape: `(n,)` for n actions.
        name: As of any Keras layer.
        dtype: As of any Keras layer; values are always float32.
        trainable: As of any Keras layer.

    Call arguments:
        inputs: float `[..., n]`, or a list `[values, mask]`.

    Example:
        >>> network = keras.Model(x := keras.Input((4,)), {"action": QValues((2,))(keras.layers.Dense(2)(x))})
    """

    def __init__(
        self, output_shape: int | tuple[int, ...], *, name: str | None = None, dtype: Any = None, trainable: bool = True
    ) -> None:
        super().__init__(output_shape, name=name, dtype=dtype, trainable=trainable)
        if len(self.mask_shape) != 1:
            raise ValueError(f"`output_shape` must be `(n,)` for n actions. Received: output_shape={output_shape}")

    def build(self, input_shape: Nest) -> None:
        """Checks the number of actions."""
        shapes = input_shape if isinstance(input_shape[0], (list, tuple)) else [input_shape]
        if any(shape[-1] != self.mask_shape[0] for shape in shapes):
            raise ValueError(f"`inputs` must have {self.mask_shape[0]} values. Received: inputs.shape={input_shape}")

    def project(self, inputs: Nest) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Passes the values on.

        Returns:
            float32 `[..., n]` and the mask, bool `[..., n]`, or `None` if there is none.
        """
        values, mask = inputs if isinstance(inputs, (list, tuple)) else (inputs, None)
        if mask is not None:
            mask = tf.cast(mask, tf.bool)
            mask |= ~tf.reduce_any(mask, -1, keepdims=True)
        return tf.cast(values, tf.float32), mask

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**keras.layers.Layer.get_config(self), "output_shape": self.mask_shape}

    @staticmethod
    def legal(values: tf.Tensor) -> tf.Tensor:
        """Which actions are not masked, bool, with the shape of `values`."""
        return values > MASKED_LOGIT / 2


@keras.saving.register_keras_serializable("keras_rl_prob")
class CategoricalQValues(QValues):
    """Head for the values of actions whose returns have a distribution over equally spaced atoms: the means.

    Otherwise like `QValues`; its input are the logits of all atoms.

    Args:
        output_shape: `(n,)` for n actions.
        bounds: The lowest and the highest atom, two numbers.
        name: As of any Keras layer.
        dtype: As of any Keras layer; values are always float32.
        trainable: As of any Keras layer.

    Attributes:
        bounds: List of two floats.

    Call arguments:
        inputs: float `[..., atoms, n]`, or a list `[logits, mask]` with a mask `[..., n]`.

    References:
        Bellemare et al., "A distributional perspective on reinforcement learning", 2017, https://arxiv.org/abs/1707.06887.

    Example:
        >>> CategoricalQValues((2,), [0.0, 10.0])(tf.math.log([[0.5, 0.1], [0.5, 0.9]])).numpy().round(4).tolist()
        [5.0, 9.0]
    """

    def __init__(
        self,
        output_shape: int | tuple[int, ...],
        bounds: Sequence[float],
        *,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(output_shape, name=name, dtype=dtype, trainable=trainable)
        self.bounds = checked_value_bounds("bounds", bounds)

    def project(self, inputs: Nest) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Takes the means.

        Returns:
            float32 `[..., n]` and the mask, bool `[..., n]`, or `None` if there is none.
        """
        logits, mask = super().project(inputs)
        support = tf.constant(self.support(logits.shape[-2]))
        return tf.reduce_sum(tf.nn.softmax(logits, -2) * support[:, None], -2), mask

    def support(self, atoms: int) -> np.ndarray:
        """The values of so many atoms, float32 `[atoms]`."""
        low, high = self.bounds
        return np.linspace(low, high, atoms, dtype=np.float32)

    def compute_output_shape(self, input_shape: Nest) -> Shape:
        """Returns the shape of the values."""
        shape = input_shape[0] if isinstance(input_shape[0], (list, tuple)) else input_shape
        return (*shape[:-2], shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "bounds": self.bounds}


def checked_value_bounds(name: str, bounds: Any) -> list[float]:
    """Returns an argument of this name, the bounds of a value; raises a `ValueError` unless it is `(low, high)`."""
    if isinstance(bounds, list | tuple | np.ndarray) and len(bounds) == 2:
        low, high = (float(checks.number(name, x, -math.inf)) for x in bounds)
        if low < high:
            return [low, high]
    raise ValueError(f"`{name}` must be two numbers, a low one and a higher one. Received: {name}={bounds!r}")
