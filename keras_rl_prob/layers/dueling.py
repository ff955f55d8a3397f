"""Action values from a state's value and the actions' advantages."""

import keras
import tensorflow as tf

from keras_rl_prob.types import Shape


@keras.saving.register_keras_serializable("keras_rl_prob")
class Dueling(keras.layers.Layer):
    """`Q(s, a) = V(s) + A(s, a) - mean_a A(s, a)`.

    With a mask the mean is over the allowed actions, so that masked ones neither count nor get a gradient; if it allows none,
    over all.

    Call arguments:
        inputs: List `[value, advantages]` of float `[..., 1]` and `[..., actions]`, or `[value, advantages, mask]` with a mask
            `[..., actions]`, bool or number, that is nonzero where an action may be chosen.

    Raises:
        ValueError: The inputs are not such a list.

    References:
        Wang et al., "Dueling network architectures for deep reinforcement learning", 2016,
        https://arxiv.org/abs/1511.06581, equation 9.

    Example:
        >>> Dueling()([tf.constant([[2.0]]), tf.constant([[1.0, 3.0]])]).numpy()
        array([[1., 3.]], dtype=float32)
    """

    def build(self, input_shape: list[Shape]) -> None:
        """Checks the shapes."""
        several = isinstance(input_shape, (list, tuple)) and len(input_shape) in (2, 3)
        fits = several and all(isinstance(shape, (list, tuple)) for shape in input_shape) and input_shape[0][-1] == 1
        if not fits or (len(input_shape) == 3 and input_shape[2][-1] != input_shape[1][-1]):
            raise ValueError(
                "`inputs` must be `[value, advantages]`, of shapes `[..., 1]` and `[..., actions]`, and perhaps a mask like "
                f"the latter. Received: shapes {input_shape}"
            )

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Returns the action values, float `[..., actions]`."""
        value, advantages, *mask = inputs
        if not mask:
            return value + advantages - keras.ops.mean(advantages, axis=-1, keepdims=True)
        legal = keras.ops.cast(mask[0], "bool")
        legal |= ~keras.ops.any(legal, axis=-1, keepdims=True)
        total = keras.ops.sum(keras.ops.where(legal, advantages, 0.0), axis=-1, keepdims=True)
        count = keras.ops.sum(keras.ops.cast(legal, advantages.dtype), axis=-1, keepdims=True)
        return value + advantages - total / count

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        """Returns the shape of the advantages."""
        return input_shape[1]
