"""Confidence intervals of means over a few seeds."""

from collections.abc import Sequence

import numpy as np


def bootstrap_interval(
    values: Sequence[float], level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Confidence interval of the mean by the percentile bootstrap.

    Resamples the values with replacement many times and takes the means; the interval leaves out the lowest and the highest
    `(1 - level) / 2` of these means. With fewer than about ten values it is too narrow.

    Args:
        values: Sequence of floats, one for each seed.
        level: Confidence level, between 0 and 1.
        resamples: Number of resamples.
        seed: Seed of the resampling; the same values always give the same interval.

    Returns:
        `(low, high)`, floats.

    References:
        Efron, "Bootstrap methods: another look at the jackknife", 1979.

    Example:
    >>> bootstrap_interval([3.0, 3.0, 3.0])
    (3.0, 3.0)
    """
    array = np.asarray(values, float)
    drawn = np.random.default_rng(seed).integers(len(array), size=(resamples, len(array)))
    low, high = np.quantile(array[drawn].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
