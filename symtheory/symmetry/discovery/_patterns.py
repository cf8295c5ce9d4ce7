"""Patterns of rates: which combinations of contractions vanish at every point."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

_NULL = 1e-11
_KEPT = 1e-8
"""Relative singular values below the first are zero, above the second they are not."""


@dataclasses.dataclass
class Gap:
    """The smallest relative singular value kept and the largest dropped, over many matrices."""

    kept: float = 1.0
    dropped: float = 0.0
    unclear: int = 0

    def see(self, values: np.ndarray) -> None:
        """Take account of the relative singular values of one matrix."""
        kept, dropped = values[values > _NULL], values[values <= _NULL]
        self.unclear += int(np.any((values > _NULL) & (values < _KEPT)))
        self.kept = min(self.kept, float(np.min(kept, initial=1.0)))
        self.dropped = max(self.dropped, float(np.max(dropped, initial=0.0)))


def patterns(rows: np.ndarray, sizes: np.ndarray, gap: Gap) -> list[tuple[Fraction, ...]]:
    """Return a simple rational basis of {r : rows r = 0}; columns that are zero are left out.

    Args:
        rows: One row per point.
        sizes: What the entries are sums of absolute values of, to tell zero from small.
        gap: Takes note of the singular values.
    """
    largest = np.max(sizes, initial=0.0)
    alive = np.max(sizes, axis=0, initial=0.0) > 1e-13 * largest
    if not largest > 0 or not alive.any():
        return []
    part, scale = rows[:, alive], sizes[:, alive]
    length = np.max(scale, axis=1, keepdims=True)
    part = part[length[:, 0] > 1e-12 * largest] / length[length[:, 0] > 1e-12 * largest]
    norms = np.linalg.norm(part, axis=0)
    if len(part) < part.shape[1] + 4:
        return []
    tiny = norms <= _NULL * np.sqrt(len(part))
    norms = np.where(tiny, 1.0, norms)
    _, values, right = np.linalg.svd(part / norms, full_matrices=False)
    gap.see(values / max(float(values[0]), 1e-300))
    null = right[values <= _NULL * max(float(values[0]), 1e-300)] / norms
    out = []
    for row in _reduced(null):
        near = [Fraction(float(x)).limit_denominator(12) for x in row]
        if max(abs(float(n) - x) for n, x in zip(near, row, strict=True)) > 1e-6:
            gap.unclear += 1
            continue
        whole = [Fraction(0)] * rows.shape[1]
        for position, number in zip(np.flatnonzero(alive), near, strict=True):
            whole[position] = number
        out.append(tuple(whole))
    return out


def _reduced(basis: np.ndarray) -> np.ndarray:
    """Return the reduced row echelon form, pivots from the left."""
    work, row = np.array(basis), 0
    size = np.max(np.abs(work), initial=0.0)
    for column in range(work.shape[1]):
        if row == len(work):
            break
        best = row + int(np.argmax(np.abs(work[row:, column])))
        if abs(work[best, column]) <= 1e-6 * size:
            continue
        work[[row, best]] = work[[best, row]]
        work[row] /= work[row, column]
        for other in range(len(work)):
            if other != row:
                work[other] -= work[other, column] * work[row]
        row += 1
    return work[:row]


def symmetric_count(basis: Sequence[tuple[Fraction, ...]]) -> int:
    """Return how many combinations of pair patterns (r, t) have r = t: symmetric matrices."""
    if not basis:
        return 0
    table = np.array([[float(x) for x in row] for row in basis])
    half = table.shape[1] // 2
    return len(table) - int(np.linalg.matrix_rank(table[:, :half] - table[:, half:]))
