"""Intervals of skewed and heavy-tailed means, and whether a run is at rest."""

import numpy as np
import pytest
from scipy import stats

from symtheory.comparison import (
    NotStationaryError,
    equivalence,
    linear_combination,
    mean_over_replicas,
    stationarity,
    stationary_mean,
    tail_index,
)
from symtheory.errors import InputError


def misses(draws, truth, confidence=0.99):
    """How often the interval misses, of those that are given without a caution; Student's too."""
    hall = student = cautious = 0
    for values in draws:
        estimate = mean_over_replicas(values)
        low, high = estimate.interval(confidence)
        missed = not low <= truth <= high
        hall += missed and not estimate.caution
        cautious += bool(estimate.caution)
        half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * estimate.standard_error
        student += abs(estimate.mean - truth) > half
    return hall / len(draws), student / len(draws), cautious / len(draws)


def test_normal_values_have_students_interval():
    rng = np.random.default_rng(0)
    hall, student, cautious = misses(rng.normal(size=(2000, 64)), 0.0)
    assert hall <= student < 0.02 and cautious == 0


@pytest.mark.parametrize("spread", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("count", [64, 256])
def test_lognormal_means(spread, count):
    rng = np.random.default_rng(1)
    truth = np.exp(spread**2 / 2)
    hall, student, cautious = misses(rng.lognormal(0, spread, (1000, count)), truth)
    # Student's interval misses in up to 23 %; this one in at most 4 %, or it says so itself.
    assert hall < 0.04 and student > hall
    assert cautious > 0.5 or spread == 1.0


def test_a_dominated_mean_decides_nothing():
    rng = np.random.default_rng(2)
    estimate = mean_over_replicas(rng.pareto(1.2, size=200))
    assert "tail index about" in estimate.caution and "replicas" in estimate.caution
    for predicted in (estimate.mean, 100 * estimate.mean):
        assert equivalence("", predicted, estimate, estimate.mean).status == "inconclusive"
    assert tail_index(rng.pareto(1.2, size=4000)) < 2


def test_counts_of_which_few_differ_are_not_heavy_tailed():
    values = np.zeros(48)
    values[:2] = 1
    assert not mean_over_replicas(values).caution


def test_skewness_of_combinations():
    rng = np.random.default_rng(3)
    first = mean_over_replicas(rng.exponential(size=400))
    second = mean_over_replicas(rng.exponential(size=400))
    apart = linear_combination([1, -1], [first, second])
    assert abs(apart.skewness) < abs(first.skewness) + 0.1
    assert first.skewness > 0.05
    assert linear_combination([-2.0], [first]).skewness == pytest.approx(-first.skewness)
    low, high = first.interval(0.99)
    assert high - first.mean > first.mean - low  # the long tail is on the right


def relaxing(time, rng, replicas=64, records=300, noise=0.3):
    clean = 1 - np.exp(-np.arange(records) / time)
    return clean + noise * rng.normal(size=(replicas, records))


def test_a_run_that_relaxes_is_not_at_rest():
    rng = np.random.default_rng(4)
    assert stationarity(relaxing(10, rng), 0.05).status == "supported"
    assert stationarity(relaxing(300, rng), 0.05).status == "refuted"
    assert stationary_mean(relaxing(10, rng), 0.05).mean == pytest.approx(1, abs=0.05)
    with pytest.raises(NotStationaryError, match=r"not stationary: .* run longer"):
        stationary_mean(relaxing(300, rng), 0.05)
    with pytest.raises(NotStationaryError, match="not decided"):
        stationary_mean(relaxing(10, rng, replicas=3, noise=5.0), 0.01)


@pytest.mark.parametrize(
    ("records", "options", "text"),
    [
        (np.zeros(5), {}, "records have shape"),
        (np.zeros((4, 5)), {"burn_in": 1.0}, "burn_in is a part"),
        (np.zeros((4, 2)), {"burn_in": 0.5}, "no two halves"),
    ],
)
def test_bad_records(records, options, text):
    with pytest.raises(InputError, match=text):
        stationarity(records, 0.1, **options)
