"""Running means and variances over time, one pass, merged over chunks and replicas."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Average:
    """Mean and variance over time of an observable, for each replica.

    Attributes:
        count: Measurements of each replica, n; 0 where a run diverged before the first one, and
            then mean and square are NaN.
        mean: Mean over them, of shape (R, ...).
        square: Sum over them of the squared deviation from that mean, of shape (R, ...).

    Measurements along one trajectory depend on one another, replicas do not: errors are computed
    from the spread of the replicas' means.

    Source: Chan, Golub and LeVeque, "Algorithms for computing the sample variance" (1983).
    """

    count: int
    mean: np.ndarray
    square: np.ndarray

    @property
    def estimate(self) -> np.ndarray:
        """Mean over replicas and time, of shape (...)."""
        return self.mean.mean(axis=0)

    @property
    def standard_error(self) -> np.ndarray:
        """Standard error of `estimate` from the spread of the replicas; NaN for one replica.

        >>> Average(2, np.array([1.0, 3.0]), np.array([0.5, 0.5])).standard_error.item()
        1.0
        """
        replicas = len(self.mean)
        if replicas < 2:
            return np.full(self.mean.shape[1:], np.nan)
        return self.mean.std(axis=0, ddof=1) / np.sqrt(replicas)

    @property
    def variance(self) -> np.ndarray:
        """Variance over replicas and time together, of shape (...).

        >>> Average(2, np.array([1.0, 3.0]), np.array([0.5, 0.5])).variance.item()  # .5 1.5 2.5 3.5
        1.25
        """
        return np.mean(self.square, axis=0) / self.count + self.mean.var(axis=0)


def merge(a: Any, b: Any) -> Any:
    """Return (counts, means, sums of squared deviations) of two sets of measurements together.

    Means and squares are dictionaries by name; counts broadcast against their last axis.
    """
    (n, means, squares), (m, others, other_squares) = a, b
    total = n + m
    weight = m / np.maximum(total, 1)
    new_means, new_squares = {}, {}
    # Of a trajectory that diverges the squares may overflow, which is then seen in the result.
    with np.errstate(over="ignore", invalid="ignore"):
        for name, mean in means.items():
            step = np.asarray(others[name], float) - mean
            new_means[name] = mean + step * weight
            new_squares[name] = squares[name] + other_squares[name] + step * step * (n * weight)
    return total, new_means, new_squares
