"""Patterns of rates: which combinations of contractions vanish at every point."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from symtheory.linear_algebra import exact, floats

_NULL = 1e-11
_KEPT = 1e-8
"""Relative singular values below the first are zero, above the second they are not."""


@dataclasses.dataclass
class Gap:
    """The smallest relative singular value kept and the largest dropped, over many matrices.

    Attributes:
        kept: The smallest one kept.
        dropped: The largest one dropped.
        unclear: How many equations leave open which it is.
        refuted: What solves the equations and fails at points of other magnitudes.
    """

    kept: float = 1.0
    dropped: float = 0.0
    unclear: int = 0
    refuted: list[str] = dataclasses.field(default_factory=list)

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
    null = floats.null_space(part / norms, _NULL)
    gap.see(null.values)
    out = []
    for row in floats.echelon(null.basis / norms, small=1e-6, from_left=True):
        near = floats.simple_fractions(row, denominator=12, tolerance=1e-6)
        if near is None:
            gap.unclear += 1
            continue
        whole = [Fraction(0)] * rows.shape[1]
        for position, number in zip(np.flatnonzero(alive), near, strict=True):
            whole[position] = number
        out.append(tuple(whole))
    return out


def symmetric_count(basis: Sequence[tuple[Fraction, ...]]) -> int:
    """Return how many combinations of pair patterns (r, t) have r = t: symmetric matrices."""
    if not basis:
        return 0
    half = len(basis[0]) // 2
    rows = [{k: row[k] - row[k + half] for k in range(half)} for row in basis]
    return len(basis) - exact.rank(rows)
