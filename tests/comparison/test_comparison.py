"""Intervals cover what they say, verdicts follow them, and wrong predictions are refuted."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from symtheory.comparison import (
    Estimate,
    difference,
    diverged_verdict,
    equivalence,
    linear_combination,
    mean_over_replicas,
    ratio,
    tail_average,
    trend,
)
from symtheory.errors import InputError
from symtheory.simulation import Divergence

RNG = np.random.default_rng(11)


def statuses(values, predicted, margin, confidence=0.9):
    """How often each status comes out over many experiments; values (experiments, replicas)."""
    out = [
        str(equivalence("", predicted, mean_over_replicas(v), margin, confidence).status)
        for v in values
    ]
    return {status: out.count(status) / len(out) for status in set(out)}


def test_coverage():
    """An interval of 90 % that just touches predicted +- margin is wrong at most that often."""
    values = RNG.normal(1.0, 0.5, (2000, 5))
    at_edge = statuses(values, predicted=1.3, margin=0.3)  # the truth lies on the edge
    error = np.sqrt(0.05 * 0.95 / 2000)
    # Claiming agreement or disagreement there each happens with probability (1 - 0.9)/2.
    assert abs(at_edge["refuted"] - 0.05) < 4 * error
    assert at_edge.get("supported", 0) < 0.05 + 4 * error


def test_right_predictions_are_supported_and_wrong_ones_refuted():
    values = RNG.normal(1.0, 0.1, (300, 200))
    assert statuses(values, predicted=1.0, margin=0.05) == {"supported": 1.0}
    assert statuses(values, predicted=1.2, margin=0.05) == {"refuted": 1.0}


def test_too_few_replicas_are_inconclusive_and_the_advice_works():
    few = RNG.normal(1.0, 0.5, 3)
    verdict = equivalence("mean", 1.0, mean_over_replicas(few), 0.05)
    assert verdict.status == "inconclusive" and not verdict.status.holds
    assert "replicas would do" in verdict.how
    text = equivalence("mean", 1.0, Estimate(1.0, 0.5 / np.sqrt(200), 200), 0.05).how
    number = int(text.split("about ")[1].split()[0])
    # Off centre by its own error the advised number decides about every second time.
    again = statuses(RNG.normal(1.0, 0.5, (100, 2 * number)), 1.0, 0.05, confidence=0.99)
    assert again["supported"] > 0.6
    assert statuses(RNG.normal(1.0, 0.5, (100, number // 8)), 1.0, 0.05, 0.99)["inconclusive"] > 0.9


def test_no_significant_difference_is_not_agreement():
    verdict = equivalence("mean", 5.0, mean_over_replicas([-50.0, 60.0]), margin=0.1)
    assert verdict.status == "inconclusive"


def test_verdict_carries_the_evidence():
    verdict = equivalence(
        "C = 2", 2.0, Estimate(2.01, 0.01, 100), 0.1, reference="here", assumptions=("T small",)
    )
    assert verdict.status == "supported"
    data = verdict.to_json()
    assert data["predicted"] == 2.0 and data["measured"] == 2.01 and data["margin"] == 0.1
    assert data["standard_error"] == 0.01 and data["reference"] == "here"
    assert data["residual"] == pytest.approx(0.01) and data["assumptions"] == ["T small"]
    assert "n = 100" in data["how"]


def test_arrays_are_judged_jointly():
    good = Estimate(np.eye(2), np.full((2, 2), 0.01), 50)
    assert equivalence("Q = 1", np.eye(2), good, 0.1).status == "supported"
    assert equivalence("Q = 1", np.diag([1.0, 2.0]), good, 0.1).status == "refuted"
    wide = Estimate(np.eye(2), np.array([[0.01, 0.01], [0.01, 1.0]]), 50)
    assert equivalence("Q = 1", np.eye(2), wide, 0.1).status == "inconclusive"
    # Jointly each interval is wider than alone.
    edge = Estimate(np.zeros(100), np.full(100, 0.033), 1000)
    assert equivalence("", 0.0, Estimate(0.0, 0.033, 1000), 0.1).status == "supported"
    assert equivalence("", 0.0, edge, 0.1).status == "inconclusive"


def test_exact_measurements():
    assert equivalence("", 1.0, Estimate(1.0, 0.0, 2), 1e-9).status == "supported"
    assert equivalence("", 1.0, Estimate(2.0, 0.0, 2), 1e-9).status == "refuted"
    assert equivalence("", 1.0, Estimate(float("nan"), 0.0, 2), 1.0).status == "inconclusive"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"margin": 0.0}, "margin must be positive"),
        ({"margin": float("inf")}, "margin must be positive"),
        ({"confidence": 1.0}, "confidence must be between"),
        ({"predicted": float("nan")}, "prediction must be finite"),
        ({"predicted": np.zeros(3)}, "do not fit"),
    ],
)
def test_bad_comparisons(change, text):
    arguments = {"predicted": 1.0, "estimate": Estimate(1.0, 0.1, 9), "margin": 0.1} | change
    with pytest.raises(InputError, match=text):
        equivalence("claim", **arguments)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: mean_over_replicas([1.0]), "at least 2 replicas"),
        (lambda: mean_over_replicas(3.0), "at least 2 replicas"),
        (lambda: mean_over_replicas([1.0, float("nan")]), "not finite"),
        (lambda: Estimate(1.0, -1.0, 3), "not negative"),
        (lambda: Estimate(1.0, 1.0, 1), "at least 2 independent"),
        (lambda: Estimate(np.ones(2), 1.0, 3), "one error for each entry"),
        (lambda: tail_average([[1.0]], fraction=0), "fraction must be"),
        (lambda: tail_average([1.0]), "records have shape"),
        (lambda: ratio(Estimate(1.0, 0.1, 9), Estimate(0.1, 0.1, 9)), "denominator"),
        (lambda: linear_combination([1.0], []), "1 coefficients for 0 estimates"),
        (lambda: trend([(0.1, Estimate(1.0, 0.1, 9))]), "at least two different"),
        (lambda: trend([(0.1, Estimate(np.ones(2), np.ones(2), 9))] * 2), "at least two different"),
    ],
)
def test_bad_estimates(make, text):
    with pytest.raises(InputError, match=text):
        make()


def test_means_and_tails():
    estimate = mean_over_replicas([1.0, 2.0, 3.0, 6.0])
    assert estimate.mean == 3.0
    assert estimate.standard_error == pytest.approx(np.std([1, 2, 3, 6], ddof=1) / 2)
    assert tail_average(np.arange(8.0).reshape(1, 8), 0.25).tolist() == [6.5]
    assert tail_average(np.ones((3, 4, 2))).shape == (3, 2)


def test_correlated_records_are_not_independent():
    """Averaging over time first gives an honest error; taking records as independent does not."""
    noise = RNG.normal(size=(400, 20, 100))
    path = np.zeros_like(noise)
    for t in range(1, 100):
        path[:, :, t] = 0.95 * path[:, :, t - 1] + noise[:, :, t]
    honest = [mean_over_replicas(tail_average(p)) for p in path]
    z = np.array([e.mean / e.standard_error for e in honest])
    assert np.mean(np.abs(z) < 2.09) == pytest.approx(0.95, abs=0.045)  # t at 19 degrees
    naive = [mean_over_replicas(p[:, 50:].reshape(-1)) for p in path]
    assert np.mean([abs(e.mean / e.standard_error) < 1.96 for e in naive]) < 0.6


def test_difference_has_welch_degrees_of_freedom():
    a, b = Estimate(2.0, 0.3, 10), Estimate(1.0, 0.0, 4)
    assert difference(a, b).count == pytest.approx(10)
    even = difference(Estimate(0.0, 0.3, 10), Estimate(0.0, 0.3, 10))
    assert even.count == pytest.approx(19)


def test_ratio_covers():
    hits = 0
    for _ in range(500):
        a = mean_over_replicas(RNG.normal(2.0, 0.4, 50))
        b = mean_over_replicas(RNG.normal(4.0, 0.4, 50))
        r = ratio(a, b)
        hits += abs(r.mean - 0.5) < 1.98 * r.standard_error
    assert hits / 500 == pytest.approx(0.95, abs=0.04)


@given(
    some.lists(some.floats(1e-4, 10), min_size=2, max_size=6, unique=True),
    some.floats(-5, 5),
    some.floats(-5, 5),
    some.floats(1e-3, 1),
)
def test_trend_recovers_a_line(rates, a, b, error):
    if max(rates) / min(rates) < 1.1:
        return
    line = trend([(rate, Estimate(a + b * rate, error, 100)) for rate in rates])
    spread = (max(rates) - min(rates)) / max(rates)
    assert line.limit.mean == pytest.approx(a, abs=1e-9 / spread)
    assert line.slope.mean * max(rates) == pytest.approx(b * max(rates), abs=1e-8 / spread)


def test_richardson():
    line = trend([(0.2, Estimate(1.4, 0.1, 50)), (0.1, Estimate(1.2, 0.1, 50))])
    assert line.limit.mean == pytest.approx(1.0)
    assert line.limit.standard_error == pytest.approx(0.1 * np.sqrt(5))
    assert line.slope.standard_error == pytest.approx(np.sqrt(2))


def test_trend_covers_and_weights():
    rates, errors = np.array([0.4, 0.2, 0.1]), np.array([0.01, 0.02, 0.05])
    z = []
    for _ in range(2000):
        means = 3 - rates + errors * RNG.normal(size=3)
        limit = trend(
            [(r, Estimate(m, e, 1000)) for r, m, e in zip(rates, means, errors, strict=True)]
        ).limit
        z.append((limit.mean - 3) / limit.standard_error)
    assert np.std(z) == pytest.approx(1, abs=0.08)
    assert np.mean(z) == pytest.approx(0, abs=0.1)


def test_a_diverged_run_is_inconclusive():
    run = SimpleNamespace(divergence=Divergence(3, 17, 0.05, 100))
    verdict = diverged_verdict(run, "C = 0", reference="here")
    assert verdict.status == "inconclusive"
    for part in ("replica 3", "step 17", "0.05"):
        assert part in verdict.how
    with pytest.raises(InputError, match="did not diverge"):
        diverged_verdict(SimpleNamespace(divergence=None))
