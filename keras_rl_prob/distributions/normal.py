"""The normal distribution with samples that are cheap under XLA on CPU."""

import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp


class Normal(tfp.distributions.Normal):
    """`tfd.Normal` that samples by inversion: `loc + scale * sqrt(2) * erfinv(u)` with `u` uniform on (-1, 1).

    TensorFlow's own normal numbers come from Box-Muller, whose sine and cosine XLA does not vectorise on CPU: 64 of
    them cost 22 microseconds, these 2.4, in a rollout whose whole step takes about 35. In float32 `u` has 23 random
    bits, hence no sample lies further than 5.3 standard deviations out. All else is as in `tfd.Normal`.

    Example:
        >>> distribution = Normal(loc=[0.0, 1.0], scale=0.5)
        >>> distribution.sample(3, seed=tf.constant([1, 2])).shape
        TensorShape([3, 2])
    """

    def _sample_n(self, n, seed=None):
        loc, scale = tf.convert_to_tensor(self.loc), tf.convert_to_tensor(self.scale)
        dtype = tf.float64 if self.dtype == tf.float64 else tf.float32
        shape = tf.concat([[n], self._batch_shape_tensor(loc=loc, scale=scale)], axis=0)
        above_minus_one = np.nextafter(dtype.as_numpy_dtype(-1), dtype.as_numpy_dtype(0))
        seed = tfp.random.sanitize_seed(seed)
        uniform = tf.random.stateless_uniform(shape, seed, minval=above_minus_one, maxval=1, dtype=dtype)
        return loc + scale * tf.cast(math.sqrt(2.0) * tf.math.erfinv(uniform), self.dtype)
