"""Split the search into blocks: rescalings of parameters and samples under which the loss scales.

If l(T_s theta; T_s z) = s^c l(theta; z) with T_s = diag(s^mu) on parameters and diag(s^nu) on the
entries of z that range over all reals, then with A also T_s^-1 A T_s is a generator for every
s > 0, so the part of A on the pairs (i, j) with equal mu_j - mu_i is one by itself. The equations
then separate into small blocks. The scaling is found at the sampled points and *proved* by
degrees of homogeneity; without it there is one block.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from symtheory.linear_algebra import floats, modular
from symtheory.linear_algebra._exact import whole_multiple
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


def _scalings(points: Points) -> list[list[Fraction]]:
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
        return [x for row in modular.null_space(rows) if (x := modular.reconstructed(row))]
    theta, g, z, h, value = (
        part.values
        for part in (points.theta, points.gradient, points.free, points.free_gradient, points.loss)
    )
    rows = np.column_stack([theta * g, z * h, -value])
    basis = floats.echelon(floats.null_space(floats.unit_rows(rows)).basis)
    return [x for row in basis if (x := floats.simple_fractions(row))]


def _integers(row: list[Fraction]) -> np.ndarray | None:
    numbers = whole_multiple(row, _WEIGHTS)
    return None if numbers is None else np.array(numbers, dtype=np.int64)
