"""The bootstrap interval against all possible resamples."""

import itertools

import numpy as np
import pytest

from keras_rl_prob.cli.bootstrap import bootstrap_interval


def exact(values, probability, method):
    """Quantile of the means of all n^n equally likely resamples."""
    means = [np.mean(resample) for resample in itertools.product(values, repeat=len(values))]
    return np.quantile(means, np.clip(probability, 0.0, 1.0), method=method)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("values", [[1.0, 2.0, 4.0], [-3.0, 0.0, 0.5, 9.0], [1.0, 10.0, 11.0, 12.0, 100.0]])
def test_it_is_that_of_all_resamples(values, level):
    tail = (1 - level) / 2
    error = 5 * np.sqrt(tail * (1 - tail) / 10_000)  # of the fraction of 10,000 samples below a quantile
    for bound, probability in zip(bootstrap_interval(values, level), (tail, 1 - tail), strict=True):
        assert exact(values, probability - error, "lower") - 1e-9 <= bound
        assert bound <= exact(values, probability + error, "higher") + 1e-9


def test_the_textbook_case():
    values = np.random.default_rng(1).normal(50.0, 10.0, 400)  # many values: mean -+ 1.96 standard errors
    error = values.std() / np.sqrt(len(values))
    low, high = bootstrap_interval(values)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_the_same_values_always_give_the_same_interval():
    assert bootstrap_interval([1.0, 2.0, 5.0]) == bootstrap_interval([1.0, 2.0, 5.0])
    assert bootstrap_interval([7.0]) == (7.0, 7.0)
