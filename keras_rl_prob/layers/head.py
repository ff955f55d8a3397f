"""The base class of heads: a linear map from features to the parameters of an action distribution."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from keras_rl_prob import checks
from keras_rl_prob.types import Nest, Shape

MASKED_LOGIT = (
    -1e9
)  # gives a probability of exactly 0 in float32, yet is finite, so that products and differences are too


class Head(keras.layers.Layer):
    """Maps features to one tensor of distribution parameters, and such a tensor to a distribution.

    Keras passes only tensors through a Functional model, so a head returns *parameters*; `distribution(params)` makes a
    TensorFlow Probability distribution from them. Parameters are float32 under every dtype policy.

    Call arguments:
        inputs: float `[..., features]`, with any number of leading axes, or a list `[x, mask]` whose `mask`, bool or
            number `[..., *output_shape]`, is nonzero where an entry may be chosen.

    Args:
        output_shape: int or tuple of ints.
        use_bias: bool.
        kernel_initializer: Keras initializer. `None` is `Orthogonal(0.01)`: a policy should start near its centre
            (Andrychowicz et al., 2020, https://arxiv.org/abs/2006.05990, section 3.2).
        bias_initializer: Keras initializer.
        kernel_regularizer: Keras regularizer or `None`.
        bias_regularizer: Keras regularizer or `None`.
        kernel_constraint: Keras constraint or `None`, which optimizers apply after each step.
        bias_constraint: Keras constraint or `None`.
        **kwargs: arguments of `keras.layers.Layer`, such as `name`.

    Attributes:
        action_kind: "continuous", "discrete" or "binary".
        action_shape: tuple of ints, the shape of one action.
        mask_shape: tuple of ints, the shape of the mask for one action: `output_shape`.
    """

    action_kind: str

    def __init__(
        self,
        output_shape: int | tuple[int, ...],
        use_bias: bool = True,
        kernel_initializer: str | keras.initializers.Initializer | None = None,
        bias_initializer: str | keras.initializers.Initializer = "zeros",
        kernel_regularizer: str | keras.regularizers.Regularizer | None = None,
        bias_regularizer: str | keras.regularizers.Regularizer | None = None,
        kernel_constraint: str | keras.constraints.Constraint | None = None,
        bias_constraint: str | keras.constraints.Constraint | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.mask_shape = _standardize_shape(output_shape)
        self.use_bias = checks.flag("use_bias", use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer or keras.initializers.Orthogonal(0.01))
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)

    @property
    def action_shape(self) -> tuple[int, ...]:
        """Shape of one action."""
        return self.mask_shape

    @property
    def projection_shape(self) -> tuple[int, ...]:
        """Shape of the linear map's output for one row of features."""
        return self.mask_shape

    def distribution(self, params: tf.Tensor) -> tfp.distributions.Distribution:
        """Returns the `tfd.Distribution` of these parameters, whose batch shape is the leading axes of `params`."""
        raise NotImplementedError

    def explored(self, params: tf.Tensor, sample: tf.Tensor) -> tf.Tensor:
        """The raw action `[..., *action_shape]` that an agent takes while it explores: a sample of the distribution."""
        return sample

    def action(self, raw: tf.Tensor) -> tf.Tensor:
        """The action `[..., *action_shape]` of a raw sample of the policy."""
        return raw

    def raw(self, action: tf.Tensor) -> tf.Tensor:
        """The raw sample of an action `[..., *action_shape]`: the action itself, unless samples are squashed."""
        return action

    def build(self, input_shape: Nest) -> None:
        """Creates the weights."""
        features_shape, mask_shape = input_shape if _is_pair(input_shape) else (input_shape, None)
        if mask_shape is not None and tuple(mask_shape[len(mask_shape) - len(self.mask_shape) :]) != self.mask_shape:
            raise ValueError(f"`mask` must end in the shape {self.mask_shape}. Received: mask.shape={mask_shape}")
        self.kernel = self.add_weight(
            name="kernel",
            shape=(features_shape[-1], math.prod(self.projection_shape)),
            **self._kernel_options(),
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=self.projection_shape,
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                autocast=False,
            )

    def _kernel_options(self):
        """Initializer, regularizer and constraint of the kernel."""
        return {
            "initializer": self.kernel_initializer,
            "regularizer": self.kernel_regularizer,
            "constraint": self.kernel_constraint,
        }

    def project(self, inputs: Nest) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Applies the linear map.

        Returns:
            float32 `[..., *projection_shape]` and the mask, bool `[..., *output_shape]`, or `None` if there is none.
        """
        x, mask = inputs if isinstance(inputs, (list, tuple)) else (inputs, None)
        kernel = tf.reshape(self.kernel, [-1, *self.projection_shape])
        outputs = tf.cast(tf.tensordot(tf.cast(x, kernel.dtype), kernel, axes=1), tf.float32)
        if self.use_bias:
            outputs += tf.cast(self.bias, tf.float32)
        return outputs, None if mask is None else tf.cast(mask, tf.bool)

    def compute_output_shape(self, input_shape: Nest) -> Shape:
        """Returns the shape of the parameters."""
        features_shape = input_shape[0] if _is_pair(input_shape) else input_shape
        return (*features_shape[:-1], *self.mask_shape)

    def compute_output_spec(self, inputs: Nest) -> keras.KerasTensor:
        """Returns a symbolic tensor like the parameters, float32 under every dtype policy."""
        shapes = keras.tree.map_structure(lambda x: x.shape, inputs)
        return keras.KerasTensor(self.compute_output_shape(shapes), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "output_shape": self.mask_shape,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
        }


def _standardize_shape(output_shape):
    """Returns a tuple of Python ints; NumPy's, as in Gymnasium's `Discrete.n`, are accepted."""
    sizes = output_shape if isinstance(output_shape, (tuple, list)) else (output_shape,)
    if not all(isinstance(size, (int, np.integer)) and not isinstance(size, bool) and size > 0 for size in sizes):
        raise ValueError(f"`output_shape` must be a tuple of positive ints. Received: output_shape={output_shape}")
    return tuple(int(size) for size in sizes)


def _is_pair(input_shape):
    """Whether this is a list of two shapes rather than one shape."""
    return isinstance(input_shape[0], (list, tuple))
