"""A head for continuous actions."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from keras_rl_prob import checks
from keras_rl_prob.distributions import BoundedNormal
from keras_rl_prob.layers.head import Head
from keras_rl_prob.types import Nest, Shape

tfd = tfp.distributions

MIN_SCALE = 1e-3  # keeps log-probabilities finite when a policy becomes deterministic


class NormalHead(Head):
    """Base class of heads with normal distributions: bounds and samples. Parameters begin with location and scale.

    Args:
        output_shape: As in `DenseNormal`, and so the other arguments.
        bounds: See there.
        hard_bounds: See there.
        loc_activation: See there.
        initial_scale: See there.
        **kwargs: arguments of `Head`.

    Attributes:
        low, high: float32 arrays `output_shape`, the bounds, or `None`.
    """

    action_kind = "continuous"

    def __init__(
        self,
        output_shape: int | tuple[int, ...],
        bounds: Sequence[Any] | None = None,
        hard_bounds: bool = False,
        loc_activation: str | Callable[..., Any] | None = None,
        initial_scale: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(output_shape, **kwargs)
        self.hard_bounds = checks.flag("hard_bounds", hard_bounds)
        if hard_bounds and bounds is None:
            raise ValueError("`hard_bounds` needs `bounds`. Received: hard_bounds=True, bounds=None")
        self.initial_scale = float(checks.number("initial_scale", initial_scale, above=MIN_SCALE))
        self.low, self.high = _split_bounds(bounds, self.mask_shape)
        self.bounds = None if bounds is None else np.asarray(bounds, "float64").tolist()
        self.loc_activation = keras.activations.get(loc_activation)

    def within_soft_bounds(self, loc: tf.Tensor, *sizes: tf.Tensor) -> list[tf.Tensor]:
        """Location and sizes such as the scale, each `[..., *output_shape]`, squeezed into soft bounds if there are any."""
        if self.bounds is None or self.hard_bounds:
            return [loc, *sizes]
        half = 0.5 * (self.high - self.low)
        return [0.5 * (self.low + self.high) + half * tf.tanh(loc), *(half * size for size in sizes)]

    def distribution(self, params: tf.Tensor) -> tfp.distributions.Distribution:
        """Returns a distribution of float32 actions `[..., *output_shape]`."""
        loc, scale, *mask = tf.unstack(params, axis=-1)
        mask = tf.cast(mask[0], tf.bool) if mask else None
        event_ndims = len(self.action_shape)
        if self.hard_bounds:
            return BoundedNormal(loc, scale, self.low, self.high, event_ndims=event_ndims, mask=mask)
        normal = tfd.Normal(loc, scale)
        if mask is not None:
            normal = tfd.Masked(normal, mask, safe_sample_fn=tfd.Distribution.mode)
        return tfd.Independent(normal, event_ndims)

    def action(self, raw: tf.Tensor) -> tf.Tensor:
        """The action `[..., *action_shape]` of a raw sample of the policy; with hard bounds the sample is squashed."""
        return self._standard_like(raw).squash(raw) if self.hard_bounds else raw

    def raw(self, action: tf.Tensor) -> tf.Tensor:
        """The raw sample of an action `[..., *action_shape]`; with hard bounds the tanh is inverted."""
        return self._standard_like(action).unsquash(tf.cast(action, tf.float32)) if self.hard_bounds else action

    def _standard_like(self, x):
        """A distribution with arbitrary parameters, for its bounds."""
        return BoundedNormal(tf.zeros_like(x, tf.float32), 1.0, self.low, self.high)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "bounds": self.bounds,
            "hard_bounds": self.hard_bounds,
            "loc_activation": keras.activations.serialize(self.loc_activation),
            "initial_scale": self.initial_scale,
        }


@keras.saving.register_keras_serializable("keras_rl_prob")
class DenseNormal(NormalHead):
    """Independent normal distributions, for Box action spaces; actions are float32 `[..., *output_shape]`.

    Parameters are `[..., *output_shape, 2]`, location and scale; with a mask `[..., *output_shape, 3]`, mask last.

    - Without bounds: a normal distribution.
    - Soft bounds: `loc = mid + half * tanh(.)` lies within the bounds, samples may lie beyond them (environments clip).
    - Hard bounds: a `BoundedNormal`; location and scale are those of the normal before the tanh.

    `scale = MIN_SCALE + (initial_scale - MIN_SCALE) * a(s) / a(0)` with `a = scale_activation` and `s = 0` at first.
    With soft bounds it is multiplied by half the range: `initial_scale` is in units of half the range there, in units
    of the action without bounds, and in those of tanh's argument with hard bounds.

    A masked component is absent: it is always at `loc`, adds 0 to log-probability, entropy and KL divergence, and gets no
    gradient.

    Args:
        output_shape: int or tuple of ints, the shape of one action.
        bounds: `None` or finite numbers that broadcast to `(*output_shape, 2)`, `(low, high)` on the last axis:
            `[-1, 1]` for all components, or `[[-1, 1], [0, 2]]` for each.
        hard_bounds: bool, whether samples must stay within the bounds.
        state_dependent_scale: bool, whether the scale depends on the features; if not, it is a learned vector.
        loc_activation: Keras activation or `None`, for the location, before bounds.
        scale_activation: Keras activation that is positive and increasing, such as "softplus" or "exponential".
        initial_scale: float above 0.001, the scale before training (where the kernel adds nothing).
        scale_initializer: Keras initializer of what the scale is learned from: the vector, or with `state_dependent_scale` the
            scale's columns of the kernel. `None` is zeros, or for the columns what the others have.
        scale_regularizer: Keras regularizer of the same or `None`. With this, `scale_initializer` or `scale_constraint`, the
            arguments for the kernel are for the location's columns alone.
        scale_constraint: Keras constraint of the same or `None`.
        **kwargs: arguments of `Head` (`use_bias`, and initializer, regularizer and constraint of `kernel` and `bias`) and of
            `keras.layers.Layer`.

    Attributes:
        low, high: float32 arrays `output_shape`, the bounds, or `None`.

    Example:
        >>> head = DenseNormal((2,), bounds=[-1.0, 1.0], hard_bounds=True)
        >>> head.distribution(head(tf.ones([32, 8]))).sample(seed=tf.constant([1, 2])).shape
        TensorShape([32, 2])
    """

    def __init__(
        self,
        output_shape: int | tuple[int, ...],
        bounds: Sequence[Any] | None = None,
        hard_bounds: bool = False,
        state_dependent_scale: bool = False,
        loc_activation: str | Callable[..., Any] | None = None,
        scale_activation: str | Callable[..., Any] = "softplus",
        initial_scale: float = 1.0,
        scale_initializer: str | keras.initializers.Initializer | None = None,
        scale_regularizer: str | keras.regularizers.Regularizer | None = None,
        scale_constraint: str | keras.constraints.Constraint | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(output_shape, bounds, hard_bounds, loc_activation, initial_scale, **kwargs)
        self.scale_initializer = keras.initializers.get(scale_initializer)
        self.scale_regularizer = keras.regularizers.get(scale_regularizer)
        self.scale_constraint = keras.constraints.get(scale_constraint)
        self.state_dependent_scale = checks.flag("state_dependent_scale", state_dependent_scale)
        self.scale_activation = keras.activations.get(scale_activation)
        with tf.init_scope():
            self._activation_at_0 = float(self.scale_activation(tf.zeros([])))
        if not self._activation_at_0 > 0:
            raise ValueError(f"`scale_activation` must be positive at 0. Received: scale_activation={scale_activation}")

    @property
    def projection_shape(self) -> tuple[int, ...]:
        """Shape of the linear map's output for one row of features."""
        return (*self.mask_shape, 2) if self.state_dependent_scale else self.mask_shape

    def build(self, input_shape: Shape) -> None:
        """Creates the weights."""
        super().build(input_shape)
        if not self.state_dependent_scale:
            self.scale = self.add_weight(
                name="scale",
                shape=self.mask_shape,
                initializer=self.scale_initializer or "zeros",
                regularizer=self.scale_regularizer,
                constraint=self.scale_constraint,
                autocast=False,
            )

    def _kernel_options(self):
        """Those of `Head`, or both those of the location and those of the scale for their columns of the kernel."""
        options = super()._kernel_options()
        own = self.scale_initializer, self.scale_regularizer, self.scale_constraint
        if not self.state_dependent_scale or own == (None, None, None):
            return options
        initializer, regularizer, constraint = options.values()
        own_initializer = self.scale_initializer or initializer

        def initial(shape, dtype=None):
            half = (shape[0], shape[1] // 2)
            return _interleaved(initializer(half, dtype), own_initializer(half, dtype))

        def penalty(kernel):
            terms = zip((regularizer, self.scale_regularizer), (kernel[:, ::2], kernel[:, 1::2]), strict=True)
            return tf.add_n([tf.zeros([], kernel.dtype), *(penalise(x) for penalise, x in terms if penalise)])

        def constrained(kernel):
            halves = zip((constraint, self.scale_constraint), (kernel[:, ::2], kernel[:, 1::2]), strict=True)
            return _interleaved(*(constrain(x) if constrain else x for constrain, x in halves))

        return {
            "initializer": initial,
            "regularizer": penalty if regularizer or self.scale_regularizer else None,
            "constraint": constrained if constraint or self.scale_constraint else None,
        }

    def call(self, inputs: Nest) -> tf.Tensor:
        """Returns location, scale and, if there is one, the mask, float32 `[..., *output_shape, 2 or 3]`."""
        outputs, mask = self.project(inputs)
        if self.state_dependent_scale:
            loc, scale = tf.unstack(outputs, axis=-1)
        else:
            loc, scale = outputs, tf.cast(self.scale, tf.float32)
        loc = self.loc_activation(loc)
        scale = self.scale_activation(scale) / self._activation_at_0
        scale = MIN_SCALE + (self.initial_scale - MIN_SCALE) * scale
        loc, scale = self.within_soft_bounds(loc, scale)
        scale += tf.zeros_like(loc)
        return tf.stack([loc, scale] if mask is None else [loc, scale, tf.cast(mask, tf.float32)], axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of the parameters."""
        masked = isinstance(input_shape[0], (list, tuple))
        return (*super().compute_output_shape(input_shape), 3 if masked else 2)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "state_dependent_scale": self.state_dependent_scale,
            "scale_activation": keras.activations.serialize(self.scale_activation),
            "scale_initializer": keras.initializers.serialize(self.scale_initializer)
            if self.scale_initializer
            else None,
            "scale_regularizer": keras.regularizers.serialize(self.scale_regularizer),
            "scale_constraint": keras.constraints.serialize(self.scale_constraint),
        }


def _interleaved(location, scale):
    """`[features, n]` each as the columns of a kernel, `[features, 2 n]`."""
    return tf.reshape(tf.stack([location, scale], -1), (location.shape[0], -1))


def _split_bounds(bounds, shape):
    """Broadcasts `bounds` to `(*shape, 2)` and returns its two halves, float32 `shape`, or `(None, None)`."""
    if bounds is None:
        return None, None
    try:
        low, high = np.moveaxis(np.broadcast_to(np.asarray(bounds, "float32"), (*shape, 2)), -1, 0)
    except (TypeError, ValueError):
        raise ValueError(f"`bounds` must broadcast to the shape {(*shape, 2)}. Received: bounds={bounds}") from None
    if not np.all(np.isfinite(low) & np.isfinite(high) & (low < high)):
        raise ValueError(f"`bounds` must be finite and every low below its high. Received: bounds={bounds}")
    return low, high
