"""The null space of g . (A theta + b) over sampled points, block by block, and its certificate."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np

from symtheory.domains import Numbers, from_fractions
from symtheory.domains import concatenate as joined
from symtheory.linear_algebra import enclosed, floats, modular
from symtheory.symmetry.discovery._points import Points
from symtheory.symmetry.discovery._proof import Field

_SMALL = 24
_CHUNK = 2_000_000
_UNIT = 2.0**-53
_TINY = 2.0**-1073  # a product that underflows
_FLOOR = 1e-12
_LOOSEST = 1e-7
"""Equations known less well than this, relative to their size, are left out."""
LARGEST_BLOCK = 2500
"""Unknowns in one block beyond which the exact search is not tried."""


@dataclasses.dataclass(frozen=True)
class NullSpace:
    """What the sampled equations leave over.

    Attributes:
        fields: A basis, rational.
        directions: A basis of the b with g . b = 0 everywhere, as shifts, where some parameter is
            unused.
        unused: Parameters on which the loss does not depend.
        upper: A certified upper bound on the dimension (of linear and affine fields).
        upper_linear: The same for linear fields.
        lost: Null vectors that are not near a simple rational one.
        kept: The smallest relative singular value that is not counted as zero (1 if exact).
        dropped: The largest one that is (0 if exact).
        unknowns: Number of unknowns.
        blocks: Number of blocks they fall into.
        largest: Unknowns of the largest block.
    """

    fields: list[Field]
    directions: list[Field]
    unused: list[int]
    upper: int
    upper_linear: int
    lost: int
    kept: float
    dropped: float
    unknowns: int
    blocks: int
    largest: int

    @property
    def along_unused(self) -> list[tuple[int, Field]]:
        """The fields theta_j b with theta_j unused, each after the number of its direction b.

        An unused theta_j is free of everything else: sum_j theta_j g . A_j = 0 asks that every
        column A_j is one of the directions.
        """
        return [
            (k, Field({(i, j): value for i, value in b.shift.items()}))
            for k, b in enumerate(self.directions)
            for j in self.unused
        ]


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Unknowns (i, j) by block; column j = d stands for the shift b_i."""

    rows: np.ndarray
    columns: np.ndarray
    starts: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Number of unknowns of every block."""
        return np.diff(self.starts)


def split(weights: np.ndarray, live: np.ndarray) -> Blocks:
    """Return the blocks of unknowns of equal weight among the parameters that matter."""
    d = len(weights)
    index = np.flatnonzero(live)
    columns = np.append(index, d)
    heights = np.append(weights, 0)
    i, j = (x.reshape(-1) for x in np.meshgrid(index, columns, indexing="ij"))
    keys = heights[j] - heights[i]
    order = np.argsort(keys, kind="stable")
    sorted_keys = keys[order]
    cuts = np.flatnonzero(np.diff(sorted_keys)) + 1
    starts = np.concatenate([[0], cuts, [len(order)]]) if len(order) else np.zeros(1, dtype=int)
    return Blocks(i[order], j[order], starts)


def solve(points: Points, blocks: Blocks) -> NullSpace:
    """Return the null space of the equations at the given points."""
    d = points.theta.shape[1]
    exact = points.gradient.residues is not None
    ones = from_fractions(np.ones((len(points), 1), dtype=np.int64))
    if points.theta.enclosure is None:
        ones = Numbers(ones.residues, None)
    theta = joined([points.theta, ones], 1)
    solver = _exact if exact else _certified
    fields: list[Field] = []
    directions: list[Field] = []
    unused = np.setdiff1d(np.arange(d), blocks.rows).tolist()
    totals = np.zeros(3, dtype=int)
    kept, dropped = 1.0, 0.0
    for b in _open_blocks(points.gradient, theta, blocks):
        span = slice(blocks.starts[b], blocks.starts[b + 1])
        order = np.argsort(blocks.columns[span] == d, kind="stable")  # shifts last
        i, j = blocks.rows[span][order], blocks.columns[span][order]
        found = solver(points.gradient, theta, i, j, int(np.sum(j < d)))
        totals += [found.upper, found.upper_linear, found.lost]
        kept, dropped = min(kept, found.kept), max(dropped, found.dropped)
        linear = [row for row in found.basis if not any(row[k] for k in np.flatnonzero(j == d))]
        affine = [row for row in found.basis if any(row[k] for k in np.flatnonzero(j == d))]
        fields += [_field(row, i, j, d) for row in [*simplify(linear), *simplify(affine)]]
        shifts = j == d
        if unused and np.any(shifts):
            found = solver(points.gradient, theta, i[shifts], j[shifts], int(np.sum(shifts)))
            totals += len(unused) * np.array([found.upper, found.upper, found.lost])
            kept, dropped = min(kept, found.kept), max(dropped, found.dropped)
            directions += [_field(row, i[shifts], j[shifts], d) for row in simplify(found.basis)]
    unknowns = len(blocks.rows) + len(unused) * len(np.unique(blocks.rows))
    return NullSpace(
        fields, directions, unused, int(totals[0]), int(totals[1]), int(totals[2]), kept, dropped,
        unknowns, len(blocks.sizes), int(np.max(blocks.sizes, initial=0)),
    )  # fmt: skip


def _field(row: list[Fraction], i: np.ndarray, j: np.ndarray, d: int) -> Field:
    matrix, shift = {}, {}
    for value, a, b in zip(row, i.tolist(), j.tolist(), strict=True):
        if value and b < d:
            matrix[a, b] = value
        elif value:
            shift[a] = value
    return Field(matrix, shift)


def _open_blocks(gradient: Numbers, theta: Numbers, blocks: Blocks) -> list[int]:
    """Return the blocks that may have a null vector: those not of full rank on a few points."""
    sizes = blocks.sizes
    if gradient.residues is None or theta.residues is None:
        return [int(b) for b in np.flatnonzero(sizes > 1)]
    out = [int(b) for b in np.flatnonzero(sizes > _SMALL)]
    for size in range(2, _SMALL + 1):  # a single unknown g_i theta_j never vanishes
        chosen = np.flatnonzero(sizes == size)
        for count in (2 * size + 8, 8 * size + 64):
            chosen = _deficient(gradient.residues, theta.residues, blocks, chosen, size, count)
        out += chosen.tolist()
    return sorted(out)


def _deficient(
    gradient: np.ndarray, theta: np.ndarray, blocks: Blocks, chosen: np.ndarray, size: int,
    count: int,
) -> np.ndarray:  # fmt: skip
    """Return those of the chosen blocks, all of one size, without full rank on a few points."""
    count = min(len(gradient), count)
    step = max(_CHUNK // (count * size), 1)
    out = [chosen[:0]]
    for start in range(0, len(chosen), step):
        some = chosen[start : start + step]
        places = blocks.starts[some][:, None] + np.arange(size)
        stack = gradient[:count][:, blocks.rows[places]] * theta[:count][:, blocks.columns[places]]
        out.append(some[modular.ranks(np.moveaxis(stack % modular.PRIME, 0, 1)) < size])
    return np.concatenate(out)


@dataclasses.dataclass(frozen=True)
class _Solution:
    basis: list[list[Fraction]]
    upper: int
    upper_linear: int
    lost: int
    kept: float = 1.0
    dropped: float = 0.0


def _exact(
    gradient: Numbers, theta: Numbers, i: np.ndarray, j: np.ndarray, linear: int
) -> _Solution:
    """Return the null space mod the prime; rank mod p <= rank over Q, so its size is a bound.

    The first `linear` unknowns belong to A: a null vector that is 1 at one of those free columns
    has entries only before it, so it is linear.
    """
    assert gradient.residues is not None and theta.residues is not None
    matrix = gradient.residues[:, i] * theta.residues[:, j] % modular.PRIME
    residues = modular.null_space(matrix)
    upper_linear = int(np.sum(~residues[:, linear:].any(axis=1)))
    rows = [modular.reconstructed(row) for row in residues]
    basis = [row for row in rows if row is not None]
    return _Solution(basis, len(rows), upper_linear, len(rows) - len(basis))


def _certified(
    gradient: Numbers, theta: Numbers, i: np.ndarray, j: np.ndarray, linear: int
) -> _Solution:
    """Return the null space in floats, and a rank certified from the bounds on their errors."""
    g, t = gradient.values[:, i], theta.values[:, j]
    matrix = g * t
    bound = gradient.errors[:, i] * np.abs(t) + 2 * _UNIT * np.abs(matrix) + _TINY
    size = np.max(np.abs(matrix), axis=1, keepdims=True, initial=0.0)  # squares may overflow
    size = np.exp2(np.round(np.log2(np.where(size > 0, size, 1.0))))  # exact to divide by
    matrix, bound = matrix / size, bound / size
    known = np.linalg.norm(bound, axis=1) < _LOOSEST
    matrix, bound = matrix[known], bound[known]
    parts = [_null_floats(matrix[:, :n], bound[:, :n]) for n in (linear, len(i))]
    shifts = np.arange(len(i)) >= linear
    affine = len(parts[1].vectors) - len(parts[0].vectors)
    whole = floats.echelon(parts[1].vectors * np.where(shifts, 1e6, 1.0))[:affine]
    padded = np.pad(parts[0].vectors, ((0, 0), (0, len(i) - linear)))
    rows = [*floats.echelon(padded), *(whole / np.where(shifts, 1e6, 1.0) * 1e6)]
    near = [floats.simple_fractions(row) for row in rows]
    basis = [row for row in near if row is not None]
    return _Solution(
        basis,
        parts[1].upper,
        parts[0].upper,
        len(rows) - len(basis),
        min(part.kept for part in parts),
        max(part.dropped for part in parts),
    )


@dataclasses.dataclass(frozen=True)
class _Floats:
    vectors: np.ndarray
    upper: int
    kept: float
    dropped: float


def _null_floats(matrix: np.ndarray, bound: np.ndarray) -> _Floats:
    columns = matrix.shape[1]
    if not matrix.size:  # without any equation there is no gap either
        return _Floats(np.eye(columns), columns, 1.0, 1.0 if columns else 0.0)
    found = floats.null_space(matrix, _FLOOR, noise=10 * float(np.linalg.norm(bound)))
    proved = enclosed.certified_rank(matrix, bound, found.rank, found.singular)
    return _Floats(found.basis, columns - proved, found.kept, found.dropped)


def simplify(basis: list[list[Fraction]]) -> list[list[Fraction]]:
    """Return a basis of the same space with fewer entries, by adding and subtracting pairs."""
    if len(basis) < 2 or len(basis) > 400:
        return basis
    rows = np.array([[float(x) for x in row] for row in basis])
    exact = [list(row) for row in basis]
    improved = True
    while improved:
        improved = False
        counts = np.count_nonzero(rows, axis=1)
        for k in np.argsort(-counts):
            for sign in (1, -1):
                fewer = np.count_nonzero(np.abs(rows[k] + sign * rows) > 1e-9, axis=1)
                fewer[k] = counts[k]
                other = int(np.argmin(fewer))
                if fewer[other] < counts[k]:
                    exact[k] = [x + sign * y for x, y in zip(exact[k], exact[other], strict=True)]
                    rows[k] = [float(x) for x in exact[k]]
                    counts[k] = np.count_nonzero(rows[k])
                    improved = True
    return exact
