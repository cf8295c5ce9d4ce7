"""The rank of a matrix of floats, by several counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

THRESHOLDS = (1e-3, 1e-2, 1e-1)


@dataclasses.dataclass(frozen=True)
class Rank:
    """The rank of a matrix, by three counts.

    Attributes:
        effective: exp of the entropy of the normalized singular values.
        stable: Squared Frobenius norm over the squared spectral norm.
        above: Singular values above each threshold times the largest, by threshold.
        full: The largest rank the shape allows.
    """

    effective: float
    stable: float
    above: dict[float, int]
    full: int


def rank(matrix: Any, thresholds: Sequence[float] = THRESHOLDS) -> Rank:
    """Return the effective, stable and thresholded rank of a matrix.

    >>> found = rank(np.eye(4))
    >>> round(found.effective, 9), found.stable, found.above[0.1]
    (4.0, 4.0, 4)
    """
    values = np.linalg.svd(np.asarray(matrix, dtype=float), compute_uv=False)
    full = len(values)
    if not full or values[0] == 0:
        return Rank(0.0, 0.0, {t: 0 for t in thresholds}, full)
    shares = values[values > 0] / values.sum()
    effective = float(np.exp(-np.sum(shares * np.log(shares))))
    stable = float(np.sum(values**2) / values[0] ** 2)
    return Rank(
        effective, stable, {t: int(np.sum(values > t * values[0])) for t in thresholds}, full
    )
