"""Over seeds: means with intervals, ranks and counts at several thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

import symtheory as st

THRESHOLDS = (1e-3, 1e-2, 1e-1)


def interval(values: np.ndarray, axis: int = -1) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over seeds and half its 95 % interval (Student t)."""
    from scipy import stats

    values = np.asarray(values, dtype=float)
    many = values.shape[axis]
    half = stats.t.ppf(0.975, many - 1) * np.std(values, axis=axis, ddof=1) / many**0.5
    return np.mean(values, axis=axis), half


def text(values: np.ndarray, digits: int = 2) -> str:
    """Return the mean over seeds with its 95 % interval, for a table."""
    mean, half = interval(np.ravel(values))
    return f"{float(mean):.{digits}f} +- {float(half):.{digits}f}"


def ranks(matrices: np.ndarray, thresholds: Sequence[float] = THRESHOLDS) -> np.ndarray:
    """Return singular values above each threshold times the largest: (..., thresholds)."""
    matrices = np.asarray(matrices, dtype=float)
    flat = matrices.reshape(-1, *matrices.shape[-2:])
    found = [list(st.syre.rank(matrix, thresholds).above.values()) for matrix in flat]
    return np.array(found).reshape(*matrices.shape[:-2], len(thresholds))


def below(lengths: np.ndarray, thresholds: Iterable[float] = THRESHOLDS) -> np.ndarray:
    """Return how many of the last axis are below each threshold: (..., thresholds).

    With lengths |P theta| of the symmetric directions this is the degree of symmetry.
    """
    return np.stack([np.sum(np.asarray(lengths) < t, axis=-1) for t in thresholds], axis=-1)
