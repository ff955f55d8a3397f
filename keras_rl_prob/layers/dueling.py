"""Action values from a state's value and the actions' advantages."""

import keras


@keras.saving.register_keras_serializable("keras_rl_prob")
class Dueling(keras.layers.Layer):
    """`Q(s, a) = V(s) + A(s, a) - mean_a A(s, a)`.

    Call arguments:
        inputs: List `[value, advantages]` of float `[..., 1]` and `[..., actions]`.

    Raises:
        ValueError: The inputs are not such a pair.

    References:
        Wang et al., "Dueling network architectures for deep reinforcement learning", 2016,
        https://arxiv.org/abs/1511.06581, equation 9.

    Example:
        >>> Dueling()([tf.constant([[2.0]]), tf.constant([[1.0, 3.0]])]).numpy()
        array([[1., 3.]], dtype=float32)
    """

    def build(self, input_shape):
        """Checks the shapes."""
        pair = isinstance(input_shape, (list, tuple)) and len(input_shape) == 2
        if not pair or not all(isinstance(shape, (list, tuple)) for shape in input_shape) or input_shape[0][-1] != 1:
            raise ValueError(
                "`inputs` must be `[value, advantages]`, of shapes `[..., 1]` and `[..., actions]`. "
                f"Received: shapes {input_shape}"
            )

    def call(self, inputs):
        """Returns the action values, float `[..., actions]`."""
        value, advantages = inputs
        return value + advantages - keras.ops.mean(advantages, axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape):
        """Returns the shape of the advantages."""
        return input_shape[1]
