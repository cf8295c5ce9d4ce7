"""Linear algebra in floating point: ranks by a gap between singular values, candidates only."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np

SMALL = 1e-11
"""Relative singular values up to this count as zero."""
_TINY = 1e-300


@dataclasses.dataclass(frozen=True)
class NullSpace:
    """The null space of a matrix as far as floats can tell.

    Attributes:
        basis: Orthonormal rows.
        values: All singular values, divided by the largest.
        rank: How many of them count as not zero.
        singular: The singular value decomposition.
    """

    basis: np.ndarray
    values: np.ndarray
    rank: int
    singular: tuple[np.ndarray, np.ndarray, np.ndarray]

    @property
    def kept(self) -> float:
        """The smallest relative singular value that does not count as zero."""
        return float(self.values[self.rank - 1]) if self.rank else 1.0

    @property
    def dropped(self) -> float:
        """The largest relative singular value that counts as zero."""
        return float(self.values[self.rank]) if self.rank < len(self.values) else 0.0


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Return finite rows divided by their lengths; the others are left out."""
    rows = rows[np.all(np.isfinite(rows), axis=1)]
    size = np.max(np.abs(rows), axis=1, keepdims=True, initial=0.0)
    rows = rows / np.where(size > 0, size, 1.0)  # first by the largest entry: nothing overflows
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(size > 0, size, 1.0)


def null_space(rows: np.ndarray, small: float = SMALL, noise: float = 0.0) -> NullSpace:
    """Return the null space of a matrix.

    Args:
        rows: A matrix; scale its rows beforehand if they may differ (`unit_rows`).
        small: Relative singular values up to this count as zero.
        noise: Singular values up to this count as zero as well.

    >>> found = null_space(np.array([[1.0, 1.0], [2.0, 2.0]]))
    >>> found.rank, np.round(found.basis @ [1, 1], 12).tolist()
    (1, [0.0])
    """
    columns = rows.shape[1]
    if not rows.size:
        return NullSpace(
            np.eye(columns), np.zeros(0), 0, (np.eye(len(rows)), np.zeros(0), np.eye(columns))
        )
    singular = np.linalg.svd(rows, full_matrices=len(rows) < columns)
    values = singular[1] / max(float(singular[1][0]), _TINY)
    found = int(np.sum((values > small) & (singular[1] > noise)))
    return NullSpace(singular[2][found:], values, found, tuple(singular))  # type: ignore[arg-type]


def rank(rows: np.ndarray, small: float = SMALL) -> int:
    """Return the numerical rank.

    >>> rank(np.array([[1.0, 1.0], [1.0, 1.0]]))
    1
    """
    if not rows.size:
        return 0
    values = np.linalg.svd(rows, compute_uv=False)
    return int(np.sum(values > small * max(float(values[0]), _TINY)))


def echelon(basis: np.ndarray, small: float = 0.0, from_left: bool = False) -> np.ndarray:
    """Return the reduced row echelon form.

    Args:
        basis: Rows.
        small: Rows whose entries are no larger than this times the largest of all are left out.
        from_left: Take the columns in their order; else the largest entry is the next pivot.

    >>> echelon(np.array([[2.0, 4.0], [1.0, 2.0]]), small=1e-9).tolist()
    [[0.5, 1.0]]
    >>> echelon(np.array([[2.0, 4.0], [1.0, 2.0]]), small=1e-9, from_left=True).tolist()
    [[1.0, 2.0]]
    """
    out = np.array(basis, dtype=float)
    size = small * float(np.max(np.abs(out), initial=0.0))
    free = np.ones(out.shape[1], dtype=bool)
    row = 0
    while row < len(out) and free.any():
        if from_left:
            column = int(np.argmax(free))
            best = row + int(np.argmax(np.abs(out[row:, column])))
        else:
            block = np.where(free, np.abs(out[row:]), -1.0)
            place, column = np.unravel_index(int(np.argmax(block)), block.shape)
            best, column = row + int(place), int(column)
        largest = abs(out[best, column])
        if largest > size:
            out[[row, best]] = out[[best, row]]
            out[row] /= out[row, column]
            factor = out[:, column].copy()
            factor[row] = 0
            out -= factor[:, None] * out[row]
            row += 1
        elif not from_left:
            break
        free[column] = False
    return out[:row]


def simple_fractions(
    row: np.ndarray, denominator: int = 24, tolerance: float = 1e-7
) -> list[Fraction] | None:
    """Return the fractions of small denominators that a vector of floats is near, if there are.

    >>> simple_fractions(np.array([0.5, 1 / 3]))
    [Fraction(1, 2), Fraction(1, 3)]
    """
    near = [Fraction(float(x)).limit_denominator(denominator) for x in row]
    far = any(abs(float(x) - y) >= tolerance for x, y in zip(near, row, strict=True))
    return None if far else near
