"""Split the search into blocks: rescalings of parameters and samples under which the loss scales.

If l(T_s theta; T_s z) = s^c l(theta; z) with T_s = diag(s^mu) on parameters and diag(s^nu) on the
entries of z that range over all reals, then with A also T_s^-1 A T_s is a generator for every
s > 0, so the part of A on the pairs (i, j) with equal mu_j - mu_i is one by itself. The equations
then separate into small blocks. The scaling is found at the sampled points and *proved* by
degrees of homogeneity; without it there is one block.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from symtheory.symmetry.discovery._modular import null_space, reconstruct
from symtheory.symmetry.discovery._points import Points
from symtheory.symmetry.discovery._proof import Prover

_WEIGHTS = 2**12


def weights(
    points: Points, free: np.ndarray, prover: Prover, rng: np.random.Generator
) -> np.ndarray:
    """Return one integer weight per parameter, of a scaling that is proved (zeros if none is).

    Args:
        points: Where the loss and its gradients are known.
        free: Which flattened sample entries and open constants the points' free columns are.
        prover: Proves homogeneity.
        rng: Chooses among the scalings.
    """
    d = points.theta.shape[1]
    found = [vector for row in _scalings(points) if (vector := _integers(row)) is not None]
    while found:
        chosen = np.sum([int(rng.integers(1, _WEIGHTS)) * v for v in found], axis=0)
        extra = np.zeros(len(free), dtype=np.int64)
        extra[free] = chosen[d:-1]
        if prover.scales(chosen[:d], extra):
            return chosen[:d]
        if len(found) == 1:
            break
        passing = []
        for vector in found:
            extra = np.zeros(len(free), dtype=np.int64)
            extra[free] = vector[d:-1]
            if prover.scales(vector[:d], extra):
                passing.append(vector)
        if len(passing) == len(found):
            break
        found = passing
    return np.zeros(d, dtype=np.int64)


def _scalings(points: Points) -> list[list[Fraction | None]]:
    """Return candidates (mu, nu, c) with sum mu_i theta_i g_i + sum nu_k z_k h_k = c l."""
    if points.exact:
        theta, g, z, h, value = (
            part.residues
            for part in (
                points.theta,
                points.gradient,
                points.free,
                points.free_gradient,
                points.loss,
            )
        )
        rows = np.column_stack([theta * g, z * h, -value])  # type: ignore[operator]
        return [[reconstruct(int(x)) for x in row] for row in null_space(rows)]
    theta, g, z, h, value = (
        part.values
        for part in (points.theta, points.gradient, points.free, points.free_gradient, points.loss)
    )
    rows = np.column_stack([theta * g, z * h, -value])
    rows = rows[np.isfinite(rows).all(axis=1)]
    return [[_close(x) for x in row] for row in echelon(float_null_space(rows)[0])]


def float_null_space(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return null vectors and singular values of rows of unit length, divided by the largest."""
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.where(size > 0, size, 1.0)
    if not len(rows):
        return np.eye(rows.shape[1]), np.zeros(0)
    _, values, vectors = np.linalg.svd(rows)
    values = values / max(values[0], 1e-300)
    rank = int(np.sum(values > 1e-11))
    return vectors[rank:], values


def echelon(basis: np.ndarray) -> np.ndarray:
    """Return the reduced row echelon form, with the largest entry as the next pivot."""
    out = np.array(basis)
    free = np.ones(out.shape[1], dtype=bool)
    for k in range(len(out)):
        block = np.where(free, np.abs(out[k:]), -1.0)
        row, column = np.unravel_index(int(np.argmax(block)), block.shape)
        out[[k, k + row]] = out[[k + row, k]]
        out[k] /= out[k, column]
        factor = out[:, column].copy()
        factor[k] = 0
        out -= factor[:, None] * out[k]
        free[column] = False
    return out


def _close(x: float) -> Fraction | None:
    near = Fraction(float(x)).limit_denominator(24)
    return near if abs(float(near) - x) < 1e-7 else None


def _integers(row: list[Fraction | None]) -> np.ndarray | None:
    if any(x is None for x in row):
        return None
    known = [x for x in row if x is not None]
    common = math.lcm(*(x.denominator for x in known))
    numbers = [int(x * common) for x in known]
    if max(map(abs, numbers)) > _WEIGHTS:
        return None
    return np.array(numbers, dtype=np.int64)
