"""Exact spectral decomposition of a symmetric rational generator."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import flint
from flint import fmpq_mat

from symtheory.domains import Element, as_fmpq

Entries = dict[tuple[int, int], Fraction]


@dataclasses.dataclass(frozen=True)
class Eigenspace:
    """An eigenvalue mu of A and the orthogonal projection onto its eigenspace."""

    value: Fraction
    projection: Entries


def numeric_entries(matrix: dict[tuple[int, int], Element]) -> Entries:
    """Return the entries of a generator without free members as fractions."""
    out = {}
    for place, element in matrix.items():
        number = element.as_fmpq()
        if number is None:
            raise ValueError("the generator still has free members")
        if number != 0:
            out[place] = Fraction(int(number.p), int(number.q))
    return out


def spectrum(matrix: Entries) -> list[Eigenspace] | None:
    """Return the eigenspaces of non-zero eigenvalue of a symmetric matrix, largest first.

    None if some eigenvalue is irrational.

    >>> [str(e.value) for e in spectrum({(0, 1): Fraction(1), (1, 0): Fraction(1)})]
    ['1', '-1']
    """
    if all(i == j for i, j in matrix):
        values = sorted(set(matrix.values()), reverse=True)
        return [
            Eigenspace(mu, {place: Fraction(1) for place, value in matrix.items() if value == mu})
            for mu in values
            if mu != 0
        ]
    touched = sorted({i for place in matrix for i in place})
    position = {i: k for k, i in enumerate(touched)}
    n = len(touched)
    a = fmpq_mat(n, n)
    for (i, j), value in matrix.items():
        a[position[i], position[j]] = as_fmpq(value)
    _, factors = a.charpoly().factor()
    if any(factor.degree() > 1 for factor, _ in factors):
        return None
    roots = [-factor[0] / factor[1] for factor, _ in factors]
    identity = fmpq_mat(n, n, [int(i == j) for i in range(n) for j in range(n)])
    out = []
    for mu in sorted(roots, reverse=True):
        projection = identity
        for nu in roots:
            if nu != mu:
                projection = projection * (a - nu * identity) / (mu - nu)
        entries = {
            (touched[i], touched[j]): _fraction(projection[i, j])
            for i in range(n)
            for j in range(n)
            if projection[i, j] != 0
        }
        out.append(Eigenspace(_fraction(mu), entries))
    return [space for space in out if space.value != 0]


def _fraction(value: Any) -> Fraction:
    value = flint.fmpq(value)
    return Fraction(int(value.p), int(value.q))
