"""Is a run at rest? Tested before anything measured in it is called stationary."""

from __future__ import annotations

from typing import Any

import numpy as np

from symtheory.comparison._equivalence import equivalence
from symtheory.comparison._estimates import Estimate, mean_over_replicas
from symtheory.errors import InputError
from symtheory.verdict import Status, Verdict


class NotStationaryError(InputError):
    """A run is too short for what is to be said of its stationary state."""


def stationarity(
    records: Any, margin: Any, *, burn_in: float = 0.5, confidence: float = 0.99
) -> Verdict:
    """Decide whether an observable has the same mean in both halves of what is kept of a run.

    Every replica is compared with itself, so that what it remembers cancels. A process that
    relaxes exponentially is then, at the end, closer to its limit than the halves are apart. One
    that relaxes over much more than the run is not told from one at rest: say how long a run has
    to be from what theory says of its relaxation.

    Args:
        records: Array of shape (R, records, ...), as in `Run.observables`.
        margin: Half-width of the equivalence interval for the difference of the halves.
        burn_in: Part of the records to leave out at the start, in [0, 1).
        confidence: Of the interval.

    Returns:
        `supported` if the halves agree, `refuted` if they do not, else `inconclusive`.

    Raises:
        InputError: Fewer than two records are kept, or a number is out of range.

    >>> rng = np.random.default_rng(0)
    >>> still, trend = rng.normal(size=(50, 100)), np.linspace(0, 1, 100)
    >>> print(stationarity(still, 0.2).status, stationarity(still + 5 * trend, 0.2).status)
    supported refuted
    """
    array = np.asarray(records, dtype=np.float64)
    if not 0 <= burn_in < 1:
        raise InputError(f"burn_in is a part of the run in [0, 1), got {burn_in!r}")
    if array.ndim < 2:
        raise InputError(f"records have shape (replicas, records, ...), got {array.shape}")
    kept = array[:, int(burn_in * array.shape[1]) :]
    half = kept.shape[1] // 2
    if half < 1:
        raise InputError(f"{kept.shape[1]} records have no two halves; record more often")
    moved = mean_over_replicas(kept[:, -half:].mean(axis=1) - kept[:, :half].mean(axis=1))
    return equivalence(
        "the mean is the same in both halves of what is kept of the run",
        np.zeros(np.shape(moved.mean)) if np.ndim(moved.mean) else 0.0,
        moved, margin, confidence,
    )  # fmt: skip


def stationary_mean(
    records: Any, margin: Any, *, burn_in: float = 0.5, confidence: float = 0.99
) -> Estimate:
    """Return the mean of the last part of a run over time and replicas, if the run is at rest.

    Args:
        records: Array of shape (R, records, ...), as in `Run.observables`.
        margin: By how much the halves of what is kept may differ, see `stationarity`.
        burn_in: Part of the records to leave out at the start.
        confidence: Of the interval of that difference.

    Raises:
        NotStationaryError: The halves are not equivalent; the message says what would do.

    >>> rng = np.random.default_rng(0)
    >>> print(round(stationary_mean(2 + rng.normal(size=(50, 100)), 0.2).mean, 1))
    2.0
    """
    array = np.asarray(records, dtype=np.float64)
    found = stationarity(array, margin, burn_in=burn_in, confidence=confidence)
    if found.status is Status.REFUTED:
        moved = float(np.max(np.abs(found.measured)))
        raise NotStationaryError(
            f"the run is not stationary: its mean still moves by {moved:.3g} between the halves of "
            f"what is kept ({found.how}); run longer, or drop more of the start with burn_in"
        )
    if found.status is not Status.SUPPORTED:
        raise NotStationaryError(f"whether the run is stationary is not decided: {found.how}")
    return mean_over_replicas(array[:, int(burn_in * array.shape[1]) :].mean(axis=1))
