"""Does a measurement agree with a prediction, to within a stated margin?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from symtheory.comparison._estimates import Estimate
from symtheory.errors import InputError
from symtheory.verdict import Status, Verdict


def equivalence(
    claim: str,
    predicted: Any,
    estimate: Estimate,
    margin: Any,
    confidence: float = 0.99,
    *,
    reference: str = "",
    assumptions: tuple[str, ...] = (),
    effect: float | None = None,
    unit: str = "",
) -> Verdict:
    """Return the verdict on "the measured quantity is within `margin` of `predicted`".

    The confidence interval is mean +- t s, with t the quantile of Student's distribution at the
    estimate's degrees of freedom, corrected for the skewness of the values (`Estimate.interval`).
    Inside predicted +- margin the claim is supported; disjoint from
    it, refuted; otherwise inconclusive, and `how` says how many replicas would do. Absence of
    a significant difference never counts as agreement. The verdict also says how small a deviation
    would have been refuted (`detectable`: margin and half-width together). Where a few values
    dominate the mean nothing is decided (`Estimate.caution`). For arrays the intervals hold for all
    entries together (Bonferroni): supported if every entry is inside, refuted if one is disjoint.

    Args:
        claim: The statement in words.
        predicted: The number or array of theory.
        estimate: What was measured.
        margin: How far off still counts as agreement (absolute), positive.
        confidence: Probability that the interval covers the truth.
        reference: Where the prediction comes from.
        assumptions: What the prediction presupposes.
        effect: Size of the effect, to say the deviation in units of it.
        unit: What numbers are counted in, in words.

    Raises:
        InputError: The margin is not positive, the confidence not in (0, 1), the prediction not
            finite, or the shapes differ.

    >>> estimate = Estimate(1.001, 0.001, 400)
    >>> [str(equivalence("", p, estimate, margin=0.01).status) for p in (1.0, 1.009, 1.1)]
    ['supported', 'inconclusive', 'refuted']
    """
    want = np.asarray(predicted, dtype=np.float64)
    width = np.asarray(margin, dtype=np.float64)
    if not np.all(np.isfinite(width)) or np.any(width <= 0):
        raise InputError(f"margin must be positive and finite, got {margin!r}")
    if not 0 < confidence < 1:
        raise InputError(f"confidence must be between 0 and 1, got {confidence!r}")
    if not np.all(np.isfinite(want)):
        raise InputError(f"the prediction must be finite, got {predicted!r}")
    mean = np.asarray(estimate.mean, dtype=np.float64)
    error = np.asarray(estimate.standard_error, dtype=np.float64)
    count = np.asarray(estimate.count, dtype=np.float64)
    if want.shape not in ((), mean.shape) or width.shape not in ((), mean.shape):
        raise InputError(
            f"prediction {want.shape} and margin {width.shape} do not fit the measured shape "
            f"{mean.shape}"
        )
    level = 1 - (1 - confidence) / max(1, mean.size)
    low, high = (np.asarray(end, np.float64) for end in estimate.interval(level))
    half = np.maximum(high - mean, mean - low)
    off = np.abs(mean - want)
    what = f"{confidence:.4g} confidence interval of half-width {np.max(half, initial=0):.3g}"
    if mean.size > 1:
        what += f" (largest of {mean.size}, jointly)"
    what += f" from n = {np.min(count):.4g}"
    detectable = float(np.max(width + half, initial=0.0))
    if not (np.all(np.isfinite(mean)) and np.all(np.isfinite(half))):
        status, how = Status.INCONCLUSIVE, "the measured mean or its error is not finite"
    elif estimate.caution:
        status, how = Status.INCONCLUSIVE, f"{what}: {estimate.caution}"
    elif np.any((low > want + width) | (high < want - width)):
        status, how = Status.REFUTED, f"{what}: disjoint from the margin"
    elif np.all((low >= want - width) & (high <= want + width)):
        status, how = Status.SUPPORTED, f"{what}: within the margin"
    else:
        status = Status.INCONCLUSIVE
        how = f"{what}: not decisive; {_advice(off, error, count, width, half, level)}"
    if math.isfinite(detectable):
        how += f"; a deviation of {detectable:.3g}{f' {unit}' if unit else ''}"
        if effect and effect != 1:
            how += f" ({detectable / abs(effect):.2g} of the effect)"
        how += " would have been refuted"
    return Verdict(
        status,
        claim,
        how=how,
        predicted=predicted,
        measured=estimate.mean,
        standard_error=float(np.max(error, initial=0.0)),
        margin=float(width) if width.ndim == 0 else float(np.min(width)),
        detectable=detectable if math.isfinite(detectable) else None,
        effect=effect,
        residual=_plain(mean - want),
        assumptions=assumptions,
        reference=reference,
    )


def _advice(off: Any, error: Any, count: Any, width: Any, half: Any, level: float) -> str:
    """Say how many replicas would decide, if the mean stays where it is."""
    from scipy import stats

    open_ = (off + half > width) & (off - half <= width)
    gap = np.abs(width - off)[open_] if off.ndim else np.atleast_1d(np.abs(width - off))
    spread = np.atleast_1d((error * np.sqrt(count))[open_] if off.ndim else error * np.sqrt(count))
    with np.errstate(divide="ignore"):
        wanted = float(np.max((stats.norm.ppf((1 + level) / 2) * spread / gap) ** 2))
    if not math.isfinite(wanted) or wanted > 1e12:
        return "the mean lies on the edge of the margin, where no number of replicas decides"
    # A few more than the normal approximation asks for, because quantiles are Student's.
    return f"about {max(math.ceil(1.1 * wanted) + 2, int(np.max(count)) + 1)} replicas would do"


def _plain(array: Any) -> Any:
    return float(array) if np.ndim(array) == 0 else array
