"""Normalisation by running statistics."""

import dataclasses
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.settings import Settings
from keras_rl_prob.types import Shape

MAX_COUNT = 1e6  # float32 cannot count beyond 2^24


class Moments(NamedTuple):
    """Mean and variance of some rows.

    Attributes:
        count: float32 scalar; number of rows.
        center: float32 `[*features]`; any value near them.
        shift: float32 `[*features]`; their mean minus `center`, which keeps digits that the mean itself would lose.
        variance: float32 `[*features]`.
    """

    count: tf.Tensor
    center: tf.Tensor
    shift: tf.Tensor
    variance: tf.Tensor


@keras.saving.register_keras_serializable("keras_rl_prob")
class RunningNormalization(keras.layers.Layer):
    """`(x - mean) / sqrt(variance + epsilon)`, clipped to +-`clip`; before any update mean is 0 and variance 1.

    Calling the layer never changes the statistics; `update` does. Each feature has its own: a layer built for `(None,
    *features)` has statistics of shape `features`, and takes inputs `[..., *features]` with any leading axes. Build it
    explicitly if it might see sequences first: `layer.build((None, 4))`, `layer.build((None,))` for rewards.

    Batches are merged by the parallel form of Welford's algorithm; n is the number of rows of the batch, d its mean minus the
    running mean:

        w = n / (count + n);   mean += w d;   variance = (1 - w) variance + w batch_variance + w (1 - w) d^2

    `count` stops at a million, since float32 cannot count beyond 2^24 and an ever smaller w would be lost to rounding:
    up to then the result is the mean and (population) variance of all rows, afterwards an exponential average.

    Args:
        center: bool, whether to subtract the mean. Rewards are only scaled: subtracting would change the task.
        clip: float or `None`, the largest absolute output.
        epsilon: float, added to the variance.
        **kwargs: arguments of `keras.layers.Layer`.

    Example:
        >>> layer = RunningNormalization()
        >>> layer.build((None, 2))
        >>> moments = layer.update(tf.constant([[0.0, 5.0], [2.0, 5.0]]))
        >>> layer(tf.constant([[2.0, 5.0]])).numpy().round(3).tolist()
        [[1.0, 0.0]]

    References:
        Chan, Golub and LeVeque (1979), Updating formulae and a pairwise algorithm for computing sample variances.
    """

    def __init__(self, center: bool = True, clip: float | None = 10.0, epsilon: float = 1e-8, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # statistics need float32 inputs
        self.center = checks.flag("center", center)
        self.clip = checks.number("clip", clip, above=0.0, none=True)
        self.epsilon = checks.number("epsilon", epsilon, above=0.0)

    def build(self, input_shape: Shape) -> None:
        """Creates the statistics, of shape `input_shape[1:]`."""
        options = {"dtype": "float32", "autocast": False, "trainable": False}
        features = tuple(input_shape[1:])
        self.mean = self.add_weight(name="mean", shape=features, initializer="zeros", **options)
        self.variance = self.add_weight(name="variance", shape=features, initializer="ones", **options)
        self.count = self.add_weight(name="count", shape=(), initializer="zeros", **options)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Normalises `[..., *features]` by the current statistics."""
        x = tf.cast(inputs, tf.float32)
        if self.center:
            x -= self.mean
        x *= tf.math.rsqrt(self.variance + self.epsilon)
        if self.clip is not None:
            x = tf.clip_by_value(x, -self.clip, self.clip)
        return tf.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns `input_shape`."""
        return input_shape

    def update(self, inputs: tf.Tensor, mask: tf.Tensor | None = None) -> Moments:
        """Merges a batch into the statistics.

        Args:
            inputs: number `[..., *features]`, finite where the mask is True.
            mask: optional bool `[...]`, which rows count. If none does, the statistics do not change.

        Returns:
            The `Moments` of the batch, around the mean before it.
        """
        if not self.built:
            raise ValueError("`update` needs a built layer: call `build((None, *features))` first")
        x = tf.cast(inputs, tf.float32)
        features_ndims = len(self.mean.shape)
        rows_axes = list(range(x.shape.rank - features_ndims))
        rows = tf.cast(tf.ones(tf.shape(x)[: len(rows_axes)]) if mask is None else mask, tf.bool)
        present = tf.reshape(rows, tf.concat([tf.shape(rows), [1] * features_ndims], axis=0))
        n = tf.reduce_sum(tf.cast(rows, tf.float32))
        center = tf.identity(self.mean)

        def batch_mean(values):
            return tf.reduce_sum(tf.where(present, values, tf.zeros_like(values)), rows_axes) / tf.maximum(n, 1.0)

        delta = batch_mean(x - center)  # [*features]
        moments = Moments(n, center, delta, batch_mean(tf.square(x - center - delta)))
        self._merge(n, delta, moments.variance)
        return moments

    def merge(self, moments: Moments) -> None:
        """Merges the `Moments` of rows that another layer has seen, as `update` would the rows themselves.

        Args:
            moments: `Moments` of finite numbers; with `count` 0 the statistics do not change.
        """
        self._merge(moments.count, moments.shift + (moments.center - self.mean), moments.variance)

    def _merge(self, n, delta, batch_variance):
        weight = n / tf.maximum(self.count + n, 1.0)
        self.mean.assign_add(weight * delta)
        self.variance.assign((1 - weight) * (self.variance + weight * tf.square(delta)) + weight * batch_variance)
        self.count.assign(tf.minimum(self.count + n, MAX_COUNT))

    def reset(self) -> None:
        """Resets the statistics."""
        self.mean.assign(tf.zeros_like(self.mean))
        self.variance.assign(tf.ones_like(self.variance))
        self.count.assign(0.0)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "center": self.center, "clip": self.clip, "epsilon": self.epsilon}


@keras.saving.register_keras_serializable("keras_rl_prob")
@dataclasses.dataclass(frozen=True)
class Normalization(Settings):
    """How observations or rewards are normalised, in place of `True`: `normalize_rewards=krp.Normalization(clip=5.0)`.

    Args:
        clip: The largest absolute value after normalisation, or `None` for no limit; 10 with `True`.

    Raises:
        ValueError: `clip` is not a positive number.

    Example:
    ```python
    agent = krp.PPO(normalize_observations=krp.Normalization(clip=5.0))
    ```
    """

    clip: float | None = 10.0

    def checked(self) -> dict[str, Any]:
        """The limit is a positive number, or `None`."""
        return {"clip": checks.number("clip", self.clip, above=0.0, none=True)}

    @classmethod
    def argument(cls, name: str, value: Any) -> Any:
        """Checks the argument of an agent: a bool or an object of this class."""
        return value if isinstance(value, cls) else checks.flag(name, value)

    @classmethod
    def layer(cls, value: Any, center: bool = True) -> RunningNormalization:
        """The layer, not yet built, for such an argument."""
        return RunningNormalization(center, (value if isinstance(value, cls) else cls()).clip, dtype="float32")
