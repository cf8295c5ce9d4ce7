"""Means with standard errors, and arithmetic with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from symtheory.comparison._tails import DOMINATED, caution, half_widths, mean_skewness
from symtheory.errors import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class Estimate:
    """A mean (a number, or an array of them) with its standard error.

    Attributes:
        mean: The estimate.
        standard_error: Its standard error, of the same shape.
        count: Number of independent values it rests on; `count - 1` degrees of freedom. For
            combinations the effective one of Welch and Satterthwaite, per entry.
        skewness: Skewness of the mean, that of the values over sqrt(n); intervals are wider for it.
        caution: Why no interval can be relied on, empty where one can.

    >>> print(Estimate(1.25, 0.01, 100))
    1.25 +- 0.01 (n = 100)
    """

    mean: Any
    standard_error: Any
    count: Any
    skewness: Any = 0.0
    caution: str = ""

    def __post_init__(self) -> None:
        if np.shape(self.mean) != np.shape(self.standard_error):
            raise InputError(
                f"the mean has shape {np.shape(self.mean)} but its standard error "
                f"{np.shape(self.standard_error)}; give one error for each entry"
            )
        if np.any(np.asarray(self.standard_error) < 0):
            raise InputError(f"standard errors are not negative, got {self.standard_error}")
        if np.any(np.asarray(self.count) < 2):
            raise InputError(
                f"an estimate with a standard error rests on at least 2 independent values, "
                f"got {self.count}; simulate more replicas"
            )

    def interval(self, confidence: float) -> tuple[Any, Any]:
        """Return the ends of the confidence interval: Student's, wider where values are skewed.

        >>> low, high = Estimate(0.0, 1.0, 1_000_000).interval(0.95)
        >>> round(low, 2), round(high, 2)
        (-1.96, 1.96)
        """
        from scipy import stats

        mean, error = np.asarray(self.mean, float), np.asarray(self.standard_error, float)
        quantile = stats.t.ppf((1 + confidence) / 2, np.asarray(self.count, float) - 1)
        below, above = half_widths(quantile, self.skewness)
        return _plain(mean - below * error), _plain(mean + above * error)

    def __str__(self) -> str:
        if np.ndim(self.mean):
            return f"{np.asarray(self.mean)} +- {np.asarray(self.standard_error)}"
        return f"{self.mean:.6g} +- {self.standard_error:.2g} (n = {self.count:.4g})"


def mean_over_replicas(values: Any) -> Estimate:
    """Return the mean over the leading axis, whose entries are independent replicas.

    Args:
        values: Array of shape (R, ...), R >= 2; average over time first (`tail_average`), because
            records of one trajectory are not independent.

    Raises:
        InputError: There are fewer than two replicas, or a value is not finite.

    >>> mean_over_replicas([1.0, 2.0, 3.0]).mean
    2.0
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or len(array) < 2:
        raise InputError(
            f"a standard error needs at least 2 replicas, got an array of shape {array.shape}; "
            "simulate with replicas=2 or more"
        )
    if not np.all(np.isfinite(array)):
        raise InputError("a value is not finite; a mean over it would hide that")
    error = array.std(axis=0, ddof=1) / np.sqrt(len(array))
    skewness = mean_skewness(array)
    why = caution(array, skewness)
    return Estimate(_plain(array.mean(axis=0)), _plain(error), len(array), _plain(skewness), why)


def tail_average(records: Any, fraction: float = 0.5) -> np.ndarray:
    """Return each replica's average over the last part of its records.

    Args:
        records: Array of shape (R, records, ...), as in `Run.observables`.
        fraction: Part of the records to keep, in (0, 1].

    Raises:
        InputError: The fraction is out of range or there are no records.

    >>> tail_average([[0.0, 1.0, 2.0, 4.0]]).tolist()
    [3.0]
    """
    array = np.asarray(records, dtype=np.float64)
    if not 0 < fraction <= 1:
        raise InputError(f"fraction must be in (0, 1], got {fraction!r}")
    if array.ndim < 2 or array.shape[1] == 0:
        raise InputError(f"records have shape (replicas, records, ...), got {array.shape}")
    keep = max(1, round(fraction * array.shape[1]))
    return array[:, -keep:].mean(axis=1)


def linear_combination(
    coefficients: Sequence[float], estimates: Sequence[Estimate], constant: Any = 0.0
) -> Estimate:
    """Return constant + sum_i c_i a_i for independent estimates a_i.

    The variances add up as sum_i c_i^2 s_i^2, third cumulants likewise, with effective
    degrees of freedom
    (sum v_i)^2 / sum(v_i^2 / (n_i - 1)), v_i = c_i^2 s_i^2 (Welch and Satterthwaite).

    >>> a = Estimate(1.0, 0.3, 10); b = Estimate(2.0, 0.4, 10)
    >>> linear_combination([1, -1], [a, b]).standard_error
    0.5
    """
    if len(coefficients) != len(estimates) or not estimates:
        raise InputError(f"got {len(coefficients)} coefficients for {len(estimates)} estimates")
    mean = np.asarray(constant, dtype=np.float64)
    parts, cautions = [], []
    for c, estimate in zip(coefficients, estimates, strict=True):
        cautions += [estimate.caution] if estimate.caution and c else []
        mean = mean + c * np.asarray(estimate.mean, dtype=np.float64)
        freedom = np.asarray(estimate.count, dtype=np.float64) - 1
        parts.append(((c * np.asarray(estimate.standard_error, np.float64)) ** 2, freedom))
    variance = np.asarray(sum(v for v, _ in parts))
    least = np.asarray(np.minimum.reduce([np.broadcast_to(f, variance.shape) for _, f in parts]))
    # Shares keep the ratio finite where all variances vanish.
    safe = np.where(variance > 0, variance, 1.0)
    spread = np.asarray(sum((v / safe) ** 2 / f for v, f in parts))
    freedom = np.where(variance > 0, 1 / np.where(spread > 0, spread, 1.0), least)
    root = np.sqrt(safe)
    skewness = np.zeros(variance.shape)
    for c, e in zip(coefficients, estimates, strict=True):
        skewness = (
            skewness + np.asarray(e.skewness) * (c * np.asarray(e.standard_error) / root) ** 3
        )
    # A part that no interval fits matters as far as it is skewed in the sum.
    why = cautions[0] if cautions and np.max(np.abs(skewness), initial=0.0) > DOMINATED else ""
    return Estimate(
        _plain(mean), _plain(np.sqrt(variance)), _plain(freedom + 1), _plain(skewness), why
    )


def difference(a: Estimate, b: Estimate) -> Estimate:
    """Return a - b for independent estimates.

    >>> difference(Estimate(3.0, 0.1, 9), Estimate(1.0, 0.0, 9)).mean
    2.0
    """
    return linear_combination([1.0, -1.0], [a, b])


def ratio(a: Estimate, b: Estimate) -> Estimate:
    """Return a / b for independent estimates, with the error to first order.

    Raises:
        InputError: The denominator is within three standard errors of zero, where the first order
            means nothing.

    >>> print(ratio(Estimate(2.0, 0.02, 50), Estimate(4.0, 0.0, 50)))
    0.5 +- 0.005 (n = 50)
    """
    top, bottom = np.asarray(a.mean, np.float64), np.asarray(b.mean, np.float64)
    if np.any(np.abs(bottom) <= 3 * np.asarray(b.standard_error)):
        raise InputError(f"the denominator {b} is not clearly different from 0; use more replicas")
    quotient = top / bottom
    first = Estimate(
        _plain(quotient), _plain(np.asarray(a.standard_error) / np.abs(bottom)), a.count,
        _plain(np.asarray(a.skewness) * np.sign(bottom)), a.caution,
    )  # fmt: skip
    error = np.abs(quotient / bottom) * np.asarray(b.standard_error)
    skewed = -np.asarray(b.skewness) * np.sign(quotient / bottom)
    second = Estimate(
        _plain(np.zeros_like(quotient)), _plain(error), b.count, _plain(skewed), b.caution
    )
    return linear_combination([1.0, 1.0], [first, second])


def _plain(array: Any) -> Any:
    array = np.asarray(array)
    return float(array) if array.ndim == 0 else array
