"""What figures decide from ensembles: limits of small steps, bounds on one side, shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import symtheory as st
from figures._ensembles import half_width


def band(values: Any, share: float = 0.8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the lower edge of the middle share over the first axis, the median, the upper edge.

    >>> [round(float(edge), 9) for edge in band(np.arange(11.0))]
    [1.0, 5.0, 9.0]
    """
    low, middle, high = np.quantile(values, [(1 - share) / 2, 0.5, (1 + share) / 2], axis=0)
    return low, middle, high


def limit(points: Sequence[tuple[float, Any]]) -> st.Estimate:
    """Extrapolate means over replicas to learning rate 0, entry by entry.

    Args:
        points: Pairs (learning rate, values of shape (replicas, ...)), of independent runs.
    """
    flat = [(rate, np.reshape(values, (len(values), -1))) for rate, values in points]
    entries = [
        st.trend([(rate, st.mean_over_replicas(v[:, i])) for rate, v in flat]).limit
        for i in range(flat[0][1].shape[1])
    ]
    shape = np.shape(points[0][1])[1:]
    parts = zip(*((e.mean, e.standard_error, e.count) for e in entries), strict=True)
    mean, error, count = (np.reshape(part, shape) for part in parts)
    return st.Estimate(mean, error, count) if shape else entries[0]


def above(
    claim: str, estimate: st.Estimate, bound: float, how: str = "", confidence: float = 0.99
) -> st.Verdict:
    """Decide whether a measured number is above a bound: by its interval, both ends of it.

    >>> [str(above("", st.Estimate(m, 0.1, 50), 1.0).status) for m in (2.0, 1.1, 0.2)]
    ['supported', 'inconclusive', 'refuted']
    """
    return _beyond(1, claim, estimate, bound, how, confidence)


def below(
    claim: str, estimate: st.Estimate, bound: float, how: str = "", confidence: float = 0.99
) -> st.Verdict:
    """Decide whether a measured number is below a bound.

    >>> [str(below("", st.Estimate(m, 0.1, 50), 1.0).status) for m in (2.0, 1.1, 0.2)]
    ['refuted', 'inconclusive', 'supported']
    """
    return _beyond(-1, claim, estimate, bound, how, confidence)


def _beyond(
    side: int, claim: str, estimate: st.Estimate, bound: float, how: str, confidence: float
) -> st.Verdict:
    half, gap = half_width(estimate, confidence), side * (estimate.mean - bound)
    status = st.Status.SUPPORTED if gap > half else st.Status.INCONCLUSIVE
    if gap < -half:
        status = st.Status.REFUTED
    text = f"{confidence:.4g} interval of half-width {half:.2g} against {bound:.4g}"
    return st.Verdict(
        status, claim, how=f"{how}; {text}" if how else text, measured=float(estimate.mean),
        standard_error=float(estimate.standard_error),
    )  # fmt: skip


def at_most(claim: str, value: float, most: float, how: str = "") -> st.Verdict:
    """Decide whether a number without a statistical error is at most a bound stated in advance.

    >>> str(at_most("rounding", 1e-15, 1e-12).status)
    'supported'
    """
    status = st.Status.SUPPORTED if value <= most else st.Status.REFUTED
    text = f"at most {most:.3g}"
    return st.Verdict(status, claim, how=f"{how}; {text}" if how else text, measured=float(value))


def share(count: int, runs: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Clopper and Pearson).

    >>> [round(edge, 4) for edge in share(0, 100)]
    [0.0, 0.0362]
    """
    from scipy import stats

    found = stats.binomtest(count, runs).proportion_ci(0.95, "exact")
    return float(found.low), float(found.high)


def share_above(claim: str, count: int, runs: int, bound: float, how: str = "") -> st.Verdict:
    """Decide whether a share is above a bound stated in advance, by its exact 95 % interval.

    >>> [str(share_above("", count, 100, 0.05).status) for count in (20, 5, 0)]
    ['supported', 'inconclusive', 'refuted']
    """
    low, high = share(count, runs)
    status = st.Status.SUPPORTED if low > bound else st.Status.INCONCLUSIVE
    if high < bound:
        status = st.Status.REFUTED
    text = f"{count} of {runs} runs, 95 % interval of the share {low:.3f} to {high:.3f}"
    return st.Verdict(
        status, claim, how=f"{text}; {how}" if how else text, measured=count / runs
    )  # fmt: skip


def finished(run: st.Run) -> st.Run:
    """Return a run that reached its last step.

    Raises:
        ArithmeticError: It diverged, and its records end there: a figure of it would mislead.
    """
    if run.diverged:
        raise ArithmeticError(f"{run.describe()}; the figure is not drawn")
    return run
