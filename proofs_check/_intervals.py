"""What measurements decide, all at one confidence."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import symtheory as st
from proofs_check._claim import TooShortError

Measure = TypeVar("Measure", bound=Callable[..., st.Verdict])

CONFIDENCE = 0.999
"""Of every interval; with margins several standard errors wide, false alarms are rarer still."""


def within(
    claim: str, predicted: Any, estimate: st.Estimate, margin: Any, effect: float | None = None
) -> st.Verdict:
    """Decide whether what was estimated is within a margin of a prediction.

    Args:
        claim: The statement in words.
        predicted: What theory says.
        estimate: What was measured.
        margin: How far off still counts as agreement.
        effect: The size of what the statement is about; that of the prediction if it is not 0.
    """
    import numpy as np

    size = float(np.max(np.abs(predicted))) if effect is None else effect
    return st.equivalence(claim, predicted, estimate, margin, CONFIDENCE, effect=size or None)


def tends_to(
    claim: str, predicted: Any, points: list[Any], margin: Any, effect: float | None = None
) -> st.Verdict:
    """Decide whether estimates at several step sizes tend to a prediction as the step does to 0.

    Args:
        claim: The statement in words.
        predicted: What theory says of the limit.
        points: Pairs of step size and estimate.
        margin: How far off still counts as agreement.
        effect: The size of what the statement is about; that of the prediction if it is not 0.
    """
    measured = ", ".join(f"{estimate} at {step:g}" for step, estimate in points)
    limit = st.trend(points).limit
    return within(f"{claim}: limit of {measured}", predicted, limit, margin, effect)


def measured(function: Measure) -> Measure:
    """Let a measurement whose runs are too short, or not at rest, decide nothing."""

    @functools.wraps(function)
    def decided(*arguments: Any, **options: Any) -> st.Verdict:
        try:
            return function(*arguments, **options)
        except (TooShortError, st.NotStationaryError) as error:
            claim = (function.__doc__ or "measurement").strip().splitlines()[0]
            how = f"{error}; allow more with --budget"
            return st.Verdict(st.Status.INCONCLUSIVE, claim, how=how)

    return decided  # type: ignore[return-value]


def at_rest(records: Any, margin: float, burn_in: float) -> st.Estimate:
    """Return the mean over the last part of a run, which has to be at rest there.

    Raises:
        NotStationaryError: Its halves are not equivalent within the margin.
    """
    return st.stationary_mean(records, margin, burn_in=burn_in, confidence=CONFIDENCE)


def near(
    claim: str, predicted: Any, values: Any, margin: Any, effect: float | None = None
) -> st.Verdict:
    """Decide whether the mean of independent values is within a margin of a prediction."""
    return within(claim, predicted, st.mean_over_replicas(values), margin, effect)


def rate_below(claim: str, failures: int, trials: int, limit: float) -> st.Verdict:
    """Decide whether a probability is at most `limit`, from the exact binomial interval."""
    from scipy import stats

    interval = stats.binomtest(failures, trials).proportion_ci(CONFIDENCE, method="exact")
    low, high = float(interval.low), float(interval.high)
    if high <= limit:
        status = st.Status.SUPPORTED
    else:
        status = st.Status.REFUTED if low > limit else st.Status.INCONCLUSIVE
    how = f"{failures} of {trials}; exact {CONFIDENCE:g} interval [{low:.4g}, {high:.4g}]"
    return st.Verdict(
        status, claim, how=how, predicted=limit, measured=failures / trials,
        detectable=(high - low) / 2, effect=limit,
    )  # fmt: skip


def mean_above(claim: str, values: Any, limit: float) -> st.Verdict:
    """Decide whether the mean of independent values is above `limit`, by Student's interval."""
    from scipy import stats

    estimate = st.mean_over_replicas(values)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, estimate.count - 1)) * estimate.standard_error
    low, high = estimate.mean - half, estimate.mean + half
    if low > limit:
        status = st.Status.SUPPORTED
    else:
        status = st.Status.REFUTED if high <= limit else st.Status.INCONCLUSIVE
    how = f"{CONFIDENCE:g} interval [{low:.4g}, {high:.4g}] from n = {estimate.count}"
    return st.Verdict(
        status,
        claim,
        how=how,
        predicted=f"> {limit:g}",
        measured=estimate.mean,
        standard_error=estimate.standard_error,
        detectable=half,
        effect=abs(estimate.mean - limit),
    )
