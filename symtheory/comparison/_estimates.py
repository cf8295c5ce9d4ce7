"""Means with standard errors, and arithmetic with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from symtheory.errors import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class Estimate:
    """A mean (a number, or an array of them) with its standard error.

    Attributes:
        mean: The estimate.
        standard_error: Its standard error, of the same shape.
        count: Number of independent values it rests on; `count - 1` degrees of freedom. For
            combinations the effective one of Welch and Satterthwaite, per entry.

    >>> print(Estimate(1.25, 0.01, 100))
    1.25 +- 0.01 (n = 100)
    """

    mean: Any
    standard_error: Any
    count: Any

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
    return Estimate(_plain(array.mean(axis=0)), _plain(error), len(array))


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

    The variances add up as sum_i c_i^2 s_i^2, with effective degrees of freedom
    (sum v_i)^2 / sum(v_i^2 / (n_i - 1)), v_i = c_i^2 s_i^2 (Welch and Satterthwaite).

    >>> a = Estimate(1.0, 0.3, 10); b = Estimate(2.0, 0.4, 10)
    >>> linear_combination([1, -1], [a, b]).standard_error
    0.5
    """
    if len(coefficients) != len(estimates) or not estimates:
        raise InputError(f"got {len(coefficients)} coefficients for {len(estimates)} estimates")
    mean = np.asarray(constant, dtype=np.float64)
    parts = []
    for c, estimate in zip(coefficients, estimates, strict=True):
        mean = mean + c * np.asarray(estimate.mean, dtype=np.float64)
        freedom = np.asarray(estimate.count, dtype=np.float64) - 1
        parts.append(((c * np.asarray(estimate.standard_error, np.float64)) ** 2, freedom))
    variance = np.asarray(sum(v for v, _ in parts))
    least = np.asarray(np.minimum.reduce([np.broadcast_to(f, variance.shape) for _, f in parts]))
    # Shares keep the ratio finite where all variances vanish.
    safe = np.where(variance > 0, variance, 1.0)
    spread = np.asarray(sum((v / safe) ** 2 / f for v, f in parts))
    freedom = np.where(variance > 0, 1 / np.where(spread > 0, spread, 1.0), least)
    return Estimate(_plain(mean), _plain(np.sqrt(variance)), _plain(freedom + 1))


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
        _plain(quotient), _plain(np.asarray(a.standard_error) / np.abs(bottom)), a.count
    )
    error = np.abs(quotient / bottom) * np.asarray(b.standard_error)
    second = Estimate(_plain(np.zeros_like(quotient)), _plain(error), b.count)
    return linear_combination([1.0, 1.0], [first, second])


def _plain(array: Any) -> Any:
    array = np.asarray(array)
    return float(array) if array.ndim == 0 else array
