"""From finite learning rates to the limit: eta, eta/2, ... to 0."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from symtheory.comparison._estimates import Estimate, linear_combination
from symtheory.errors import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class Trend:
    """A line through measurements at several learning rates.

    Attributes:
        limit: The extrapolation to learning rate 0.
        slope: Change per unit of learning rate.
        learning_rates: Where it was measured.
    """

    limit: Estimate
    slope: Estimate
    learning_rates: tuple[float, ...]


def trend(points: Sequence[tuple[float, Estimate]]) -> Trend:
    """Extrapolate independent measurements at learning rates eta_i to eta -> 0.

    Weighted least squares on a + b eta with weights 1 / s_i^2; both a and b are linear in the
    measurements, so their standard errors follow. For eta and eta/2 this is Richardson's
    a = 2 a(eta/2) - a(eta). An error of order eta^2 remains.

    Args:
        points: Two or more pairs (learning rate, estimate), numbers rather than arrays.

    Raises:
        InputError: There are fewer than two different learning rates, or one is not positive.

    >>> line = trend([(0.2, Estimate(1.4, 0.1, 50)), (0.1, Estimate(1.2, 0.1, 50))])
    >>> round(line.limit.mean, 12), round(line.slope.mean, 12)
    (1.0, 2.0)
    """
    rates = np.array([rate for rate, _ in points], dtype=np.float64)
    if len(set(rates.tolist())) < 2 or not np.all(np.isfinite(rates)) or np.any(rates <= 0):
        raise InputError(
            f"a trend needs at least two different positive learning rates, got {rates.tolist()}"
        )
    estimates = [estimate for _, estimate in points]
    if any(np.ndim(estimate.mean) for estimate in estimates):
        raise InputError("a trend is fitted to numbers; fit the entries of arrays one by one")
    errors = np.array([estimate.standard_error for estimate in estimates], dtype=np.float64)
    weights = 1 / errors if np.all(errors > 0) else np.ones_like(errors)
    scale = float(rates.max())  # a well-conditioned fit whatever the unit of time
    design = np.stack([np.ones_like(rates), rates / scale], axis=1)
    rows = np.linalg.pinv(design * weights[:, None]) * weights
    limit = linear_combination(rows[0].tolist(), estimates)
    slope = linear_combination((rows[1] / scale).tolist(), estimates)
    return Trend(limit, slope, tuple(rates.tolist()))
