"""Means of skewed and heavy-tailed values: the interval that fits them, and when there is none."""

from __future__ import annotations

from typing import Any

import numpy as np

DOMINATED = 0.35
"""Skewness of a mean above which a few values decide it, and no interval can be relied on."""
_FEWEST = 32
_HEAVY = 4.0


def mean_skewness(values: np.ndarray) -> np.ndarray:
    """Return the skewness of the mean over the leading axis: that of the values over sqrt(n).

    It is 0 where it is within two standard errors of 0, as for normal values.

    >>> float(mean_skewness(np.array([-1.0, 0.0, 1.0])))
    0.0
    """
    count = len(values)
    centred = values - values.mean(axis=0)
    if count < 3:
        return np.zeros(values.shape[1:])
    second, third = (centred**2).mean(axis=0), (centred**3).mean(axis=0)
    # Rounding of equal values is no skewness.
    flat = second <= (1e-14 * np.abs(values).max(axis=0)) ** 2
    ratio = np.where(flat, 0.0, third / np.where(flat, 1.0, second) ** 1.5)
    skewness = ratio * np.sqrt(count - 1) / (count - 2)
    return np.where(np.abs(skewness) > 2 * np.sqrt(6) / count, skewness, 0.0)


def half_widths(quantile: Any, skewness: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return how far an interval reaches below and above a mean, in standard errors.

    Student's interval, widened to Hall's where the values are skewed: with k the skewness of the
    mean, g(T) = T + k T^2/3 + k^2 T^3/27 + k/6 of the studentized mean T is nearly normal, and
    g^-1(x) = (3/k) ((1 + k (x - k/6))^(1/3) - 1).

    Source: P. Hall, On the removal of skewness by transformation, J. R. Stat. Soc. B 54 (1992).

    >>> [round(float(side), 3) for side in half_widths(2.6, 0.0)]
    [2.6, 2.6]
    >>> [round(float(side), 1) for side in half_widths(2.6, 0.3)]
    [2.6, 4.1]
    """
    q, k = np.asarray(quantile, np.float64), np.asarray(skewness, np.float64)
    safe = np.where(np.abs(k) < 1e-6, 1.0, k)

    def inverse(x: Any) -> Any:
        bent = 3 / safe * (np.cbrt(1 + safe * (x - safe / 6)) - 1)
        return np.where(np.abs(k) < 1e-6, x, bent)

    return np.maximum(q, inverse(q)), np.maximum(q, -inverse(-q))


def tail_index(values: Any) -> float:
    """Return Hill's estimate of the tail index: moments of at most this order are finite.

    >>> draws = np.random.default_rng(0).pareto(1.5, size=4000)
    >>> 1.0 < tail_index(draws) < 2.0  # 63 draws lie in the tail: its standard error is 0.19
    True
    """
    flat = np.asarray(values, np.float64).reshape(len(values), -1)
    sizes = np.sort(np.abs(flat - np.median(flat, axis=0)), axis=0)[::-1]
    most = min(max(5, int(len(sizes) ** 0.5)), len(sizes) - 1)
    base = sizes[most]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(sizes[:most] / base).mean(axis=0)
    logs = logs[np.isfinite(logs) & (logs > 0)]
    return float(1 / logs.max()) if logs.size else float("inf")


def caution(values: np.ndarray, skewness: np.ndarray) -> str:
    """Say that a few values of a heavy tail dominate a mean, empty where none do."""
    worst = float(np.max(np.abs(skewness), initial=0.0))
    if len(values) < _FEWEST or worst <= DOMINATED:
        return ""
    flat = values.reshape(len(values), -1)
    column = int(np.argmax(np.abs(skewness).reshape(-1)))
    index = tail_index(flat[:, column])
    if index > _HEAVY:  # bounded values, such as counts, of which few differ
        return ""
    wanted = int(np.ceil(len(values) * (worst / DOMINATED) ** 2))
    return (
        f"a few of the {len(values)} values dominate the mean (tail index about {index:.2g}; "
        "below 2 a mean has no standard error), so no interval can be relied on; take at least "
        f"{wanted} replicas, or compare a quantity with lighter tails"
    )
