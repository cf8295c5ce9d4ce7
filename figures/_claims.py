"""What is said of an experiment, decided by intervals over seeds."""

from __future__ import annotations

import numpy as np

import symtheory as st
from figures._spread import interval


def more_than(claim: str, values: np.ndarray, least: float, why: str = "") -> st.Verdict:
    """Return the verdict on "the mean over seeds is more than `least`".

    Supported if the whole 95 % interval (Student t) is above, refuted if it is below. Where all
    seeds have the same value, that value decides, and no interval is given.

    Args:
        claim: The statement in words.
        values: One number for each seed; a difference of two methods is taken seed by seed.
        least: What counts as an effect.
        why: What may explain a claim that does not come out, added to `how` if it is refuted.
    """
    values = np.asarray(values, dtype=float)
    mean, half = (float(value) for value in interval(values))
    low, high = mean - half, mean + half
    if low > least:
        status = st.Status.SUPPORTED
    else:
        status = st.Status.REFUTED if high <= least else st.Status.INCONCLUSIVE
    same = float(np.ptp(values)) == 0  # no spread to compute an interval from
    how = f"95 % interval {low:.3g} to {high:.3g} from {len(values)} seeds"
    if same:
        how = f"the same in all {len(values)} seeds"
    if why and status is st.Status.REFUTED:
        how = f"{how}; possible reason: {why}"
    return st.Verdict(
        status,
        claim,
        how=how,
        predicted=f"more than {least:g}",
        measured=mean,
        standard_error=None if same else float(np.std(values, ddof=1) / len(values) ** 0.5),
    )
