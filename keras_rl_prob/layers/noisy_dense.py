"""A Dense layer with noisy weights, for exploration."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.types import Shape

KINDS = ("factorized", "independent")


def noise_kind(name: str, value: Any, none: bool = False) -> Any:
    """One of `KINDS`, from an argument that may have the British spelling; also `None` if `none`.

    Raises:
        ValueError: The argument is anything else.
    """
    value = "factorized" if value == "factorised" else value
    if value not in KINDS and not (none and value is None):
        or_none = ", or `None`" if none else ""
        raise ValueError(f"`{name}` must be one of {list(KINDS)}{or_none}. Received: {name}={value!r}")
    return value


@keras.saving.register_keras_serializable("keras_rl_prob")
class NoisyDense(keras.layers.Layer):
    """`Dense` with learned Gaussian noise on its weights, which explores instead of random actions.

        y = (mu_w + sigma_w * noise_w) x + mu_b + sigma_b * noise_b

    With `training=True`; otherwise there is no noise. The noise is constant until `resample` samples it again: all rows of a
    batch, and all steps until then, use the same perturbed weights. Initially it is 0.

    Independent noise is one standard normal number for each weight. Factorized noise is `f(e_in) f(e_out)^T`, of rank 1, and
    `f(e_out)` for the bias, with `f(e) = sign(e) sqrt(|e|)` of one standard normal number for each input and output.

    Args:
        units: Width of the output.
        activation: Keras activation or `None`.
        kind: `"factorized"` or `"independent"`.
        sigma: Initial scale of the noise. `None` is the paper's: 0.5 / sqrt(inputs) for factorized noise, 0.017 for
            independent noise. A number replaces 0.5 or 0.017.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Raises:
        ValueError: `kind` is neither of the two.

    References:
        Fortunato et al., "Noisy networks for exploration", 2018, https://arxiv.org/abs/1706.10295, section 3.

    Example:
        >>> layer = NoisyDense(4)
        >>> quiet = layer(tf.ones([2, 8]))
        >>> layer.resample(tf.constant([1, 2]))
        >>> bool(tf.reduce_any(layer(tf.ones([2, 8]), training=True) != quiet))
        True
    """

    def __init__(
        self,
        units: int,
        activation: str | Callable[..., Any] | None = None,
        kind: str = "factorized",
        sigma: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units, self.kind = checks.integer("units", units), noise_kind("kind", kind)
        self.sigma = checks.number("sigma", sigma, none=True)
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: Shape) -> None:
        """Creates the weights and the noise."""
        inputs: Any = input_shape[-1]
        noise: dict[str, tuple[int, ...]]
        if self.kind == "factorized":
            limit, sigma = inputs**-0.5, (0.5 if self.sigma is None else self.sigma) * inputs**-0.5
            noise = {"noise_in": (inputs,), "noise_out": (self.units,)}
        else:
            limit, sigma = (3.0 / inputs) ** 0.5, 0.017 if self.sigma is None else self.sigma
            noise = {"noise_kernel": (inputs, self.units), "noise_bias": (self.units,)}
        means: dict[str, tuple[int, ...]] = {"kernel": (inputs, self.units), "bias": (self.units,)}
        for name, shape in means.items():
            uniform = keras.initializers.RandomUniform(-limit, limit)
            setattr(self, name, self.add_weight(shape=shape, initializer=uniform, name=name))
            constant = keras.initializers.Constant(sigma)
            setattr(self, f"sigma_{name}", self.add_weight(shape=shape, initializer=constant, name=f"sigma_{name}"))
        for name, shape in noise.items():
            setattr(self, name, self.add_weight(shape=shape, initializer="zeros", trainable=False, name=name))

    def resample(self, seed: tf.Tensor) -> None:
        """Samples new noise.

        Args:
            seed: int32 `[2]`.
        """
        noise = (self.noise_in, self.noise_out) if self.kind == "factorized" else (self.noise_kernel, self.noise_bias)
        for i, variable in enumerate(noise):
            normal = tf.random.stateless_normal(variable.shape, seed + [i, 0])
            variable.assign(tf.sign(normal) * tf.sqrt(tf.abs(normal)) if self.kind == "factorized" else normal)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns float `[..., units]`."""
        kernel, bias = self.kernel, self.bias
        if training:
            if self.kind == "factorized":
                noise_kernel, noise_bias = self.noise_in[:, None] * self.noise_out[None, :], self.noise_out
            else:
                noise_kernel, noise_bias = self.noise_kernel, self.noise_bias
            kernel, bias = kernel + self.sigma_kernel * noise_kernel, bias + self.sigma_bias * noise_bias
        return self.activation(tf.matmul(inputs, kernel) + bias)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns `[..., units]`."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "kind": self.kind,
            "sigma": self.sigma,
        }
