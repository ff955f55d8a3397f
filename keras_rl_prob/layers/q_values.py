"""The head of a network of action values."""

from typing import Any

import keras
import tensorflow as tf

from keras_rl_prob.layers.dense_categorical import DenseCategorical
from keras_rl_prob.layers.head import MASKED_LOGIT
from keras_rl_prob.types import Nest


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
