"""Ranks that are certain although the entries are known up to an error only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from flint import arb

_UNIT = 2.0**-53


def certain_rank(rows: Sequence[Sequence[arb]], deadline: Any = None) -> int:
    """Return how many pivots of an elimination certainly differ from zero.

    Args:
        rows: Balls.
        deadline: Something whose `check` raises when time is over.

    >>> certain_rank([[arb(1), arb(2)], [arb(2), arb(4)]])
    1
    """
    table = [list(row) for row in rows]
    found = 0
    while table and table[0]:
        if deadline is not None:
            deadline.check()
        size = [[float(abs(x).lower()) if x.is_finite() else 0.0 for x in row] for row in table]
        i, j = np.unravel_index(int(np.argmax(size)), np.shape(size))
        if not size[i][j] > 0:
            break
        pivot = table.pop(int(i))
        found += 1
        table = [
            [row[k] - row[j] / pivot[j] * pivot[k] for k in range(len(row)) if k != j]
            for row in table
        ]
    return found


def certified_rank(
    matrix: np.ndarray,
    bound: np.ndarray,
    rank: int,
    singular: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> int:
    """Return `rank` if every matrix within the bound has at least that rank, else 0.

    With U, V, S the leading singular triples as computed (whatever their errors), the r x r matrix
    U^T M V S^-1 is invertible when it is within distance 1 of the identity; the distance is bounded
    with the rounding of every product.

    Args:
        matrix: Midpoints.
        bound: Bounds on their errors, entry by entry.
        rank: The rank to certify.
        singular: What `numpy.linalg.svd` returned for the matrix.

    >>> exact = np.array([[1.0, 0.0], [0.0, 1e-3]])
    >>> certified_rank(exact, np.full((2, 2), 1e-9), 2), certified_rank(exact, exact, 2)
    (2, 0)
    """
    if not rank:
        return 0
    left, values, right = singular or np.linalg.svd(matrix, full_matrices=False)
    with np.errstate(all="ignore"):
        u, v = left[:, :rank].T, right[:rank].T / values[:rank]
        product = u @ (matrix @ v)
        size = np.abs(u) @ (np.abs(matrix) @ np.abs(v))
        rounding = 4 * (sum(matrix.shape) + 8) * _UNIT * size
        distance = np.abs(product - np.eye(rank)) + rounding
        distance = distance + np.abs(u) @ (bound @ np.abs(v)) * 1.01
        return rank if float(np.linalg.norm(distance)) < 0.99 else 0
