"""A head for continuous actions whose exploration is smooth: generalised state-dependent exploration."""

import contextlib
import contextvars
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.layers.dense_normal import NormalHead
from keras_rl_prob.types import Shape

FARTHEST = 2.0  # location before the tanh of hard bounds: beyond it, noise would hardly change actions
SALT = 1_000_033  # keeps these random numbers apart from those of other seeds

_seed: contextvars.ContextVar[tf.Tensor | None] = contextvars.ContextVar("exploration_seed", default=None)


@contextlib.contextmanager
def exploration(seed: tf.Tensor | None) -> Iterator[None]:
    """In this context a `DenseGSDE` adds the noise of the step whose seed this is, int32 `[2]`; for `None` it has none."""
    token = _seed.set(seed)
    try:
        yield
    finally:
        _seed.reset(token)


@keras.saving.register_keras_serializable("keras_rl_prob")
class DenseGSDE(NormalHead):
    """`DenseNormal` with exploration noise that is a function of the state, kept for several steps (gSDE).

    For features `x` the action is, before bounds,

        a = loc(x) + theta^T x,   theta_ij ~ N(0, sigma_ij^2)

    with a new matrix `theta` for each environment every `noise_steps` steps. So an agent that acts moves smoothly instead of
    trembling. Over `theta` the action has a normal distribution with the scale `sqrt(sum_i x_i^2 sigma_ij^2 + 1e-6)`, which is
    that of `distribution`: log-probability and entropy, and the samples of updates, which are independent of each other.
    `sigma` is learned; no gradient flows from the scale to the features. With hard bounds, `loc` lies within -2 and 2, as in
    stable-baselines3: 96 % of the bounds after the tanh.

    Parameters are `[..., *output_shape, 3]`: location, scale, and the noise `theta^T x` of an agent that acts, else 0.

    Args:
        output_shape: int or tuple of ints, the shape of one action.
        noise_steps: Steps for which the noise matrix is kept. 1 is a new one in each step.
        bounds: As in `DenseNormal`, and so `hard_bounds` and `loc_activation`.
        hard_bounds: bool, whether samples must stay within the bounds.
        loc_activation: Keras activation or `None`, for the location, before bounds.
        initial_scale: float above 0.001, `sigma` before training. With soft bounds in units of half the range.
        **kwargs: arguments of `Head` (`use_bias`, `kernel_initializer`, `bias_initializer`, `kernel_regularizer`,
            `bias_regularizer`) and of `keras.layers.Layer`.

    Raises:
        ValueError: An argument is out of its range, or the layer is called with a mask.

    References:
        Raffin et al., "Smooth exploration for robotic reinforcement learning", 2021, https://arxiv.org/abs/2005.05719,
        section 3.

    Example:
        >>> head = DenseGSDE((2,), noise_steps=4, bounds=[-1.0, 1.0], hard_bounds=True)
        >>> head(tf.ones([32, 8])).shape
        TensorShape([32, 2, 3])
    """

    def __init__(
        self,
        output_shape: int | tuple[int, ...],
        noise_steps: int = 8,
        bounds: Sequence[Any] | None = None,
        hard_bounds: bool = False,
        loc_activation: str | Callable[..., Any] | None = None,
        initial_scale: float = 0.05,
        **kwargs: Any,
    ) -> None:
        super().__init__(output_shape, bounds, hard_bounds, loc_activation, initial_scale, **kwargs)
        self.noise_steps = checks.integer("noise_steps", noise_steps)

    def build(self, input_shape: Shape) -> None:
        """Creates the weights."""
        if isinstance(input_shape[0], (list, tuple)):
            raise ValueError(f"`DenseGSDE` must be called without a mask. Received: inputs of the shapes {input_shape}")
        super().build(input_shape)
        self.log_sigma = self.add_weight(
            name="log_sigma",
            shape=(input_shape[-1], *self.mask_shape),
            initializer=keras.initializers.Constant(math.log(self.initial_scale)),
            autocast=False,
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns location, scale and noise, float32 `[..., *output_shape, 3]`; with a seed, inputs are `[B, features]`."""
        outputs, _ = self.project(inputs)
        loc = self.loc_activation(outputs)
        if self.hard_bounds:
            loc = tf.clip_by_value(loc, -FARTHEST, FARTHEST)
        x, sigma = tf.stop_gradient(tf.cast(inputs, tf.float32)), tf.exp(tf.cast(self.log_sigma, tf.float32))
        scale = tf.sqrt(tf.tensordot(tf.square(x), tf.square(sigma), 1) + 1e-6)
        seed, noise = _seed.get(), tf.zeros_like(loc)
        if seed is not None:
            normal = tf.random.stateless_normal(
                (x.shape[0], *sigma.shape), tf.math.floordiv(seed, [1, self.noise_steps]) + [SALT, 0]
            )
            noise = tf.einsum("bf,bf...->b...", x, sigma * normal)
        return tf.stack(self.within_soft_bounds(loc, scale, noise), axis=-1)

    def explored(self, params: tf.Tensor, sample: tf.Tensor) -> tf.Tensor:
        """The raw action `[..., *action_shape]` of an agent that acts: location plus noise."""
        return params[..., 0] + params[..., 2]

    def distribution(self, params: tf.Tensor) -> Any:
        """Returns a distribution of float32 actions `[..., *output_shape]`."""
        return super().distribution(params[..., :2])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of the parameters."""
        return (*input_shape[:-1], *self.mask_shape, 3)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "noise_steps": self.noise_steps}
