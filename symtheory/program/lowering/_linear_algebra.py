"""Factorizations and triangular systems of small matrices, entry by entry."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from symtheory.program._builder import Builder, Operand, shape_of
from symtheory.program.lowering._rule import lowers

_LARGEST = 8
"""Rows up to which a factorization is written out."""


class _Matrix:
    """Entries of a stack of matrices that are computed one by one."""

    def __init__(self, b: Builder, x: Operand) -> None:
        self.b, self.batch = b, list(shape_of(x)[:-2])
        self.rows, self.columns = shape_of(x)[-2:]
        if max(self.rows, self.columns) > _LARGEST:
            b.refuse(f"a factorization of a matrix with more than {_LARGEST} rows")
        axis = len(self.batch)
        self.entry: dict[tuple[int, int], Operand] = {}
        for i in range(self.rows):
            row = b.reshape(b.take(x, np.array([i]), axis), [*self.batch, self.columns])
            for j in range(self.columns):
                part = b.take(row, np.array([j]), axis)
                self.entry[i, j] = b.reshape(part, self.batch)

    def together(self) -> Operand:
        """Return the entries as one array."""
        b, axis = self.b, len(self.batch)
        column = lambda x: b.reshape(
            b.broadcast(x, self.batch, range(len(shape_of(x)))), [*self.batch, 1, 1]
        )
        rows = [
            b.concatenate([column(self.entry[i, j]) for j in range(self.columns)], axis + 1)
            for i in range(self.rows)
        ]
        return b.concatenate(rows, axis)


@lowers("lu")
def _lu(b: Builder, eqn: Any, x: Operand) -> list[Operand]:
    """Elimination without exchange of rows.

    What determinants and solutions are made of does not depend on which rows are exchanged; where a
    leading minor vanishes the quotients are undefined, which is a set of measure zero.
    """
    m = _Matrix(b, x)
    for k in range(min(m.rows, m.columns)):
        inverse = b.power(m.entry[k, k], -1)
        for i in range(k + 1, m.rows):
            factor = m.entry[i, k] = b.mul(m.entry[i, k], inverse)
            for j in range(k + 1, m.columns):
                m.entry[i, j] = b.sub(m.entry[i, j], b.mul(factor, m.entry[k, j]))
    pivots = np.broadcast_to(np.arange(min(m.rows, m.columns)), [*m.batch, min(m.rows, m.columns)])
    order = np.broadcast_to(np.arange(m.rows), [*m.batch, m.rows])
    return [m.together(), pivots.astype(np.int32), order.astype(np.int32)]


@lowers("cholesky")
def _cholesky(b: Builder, eqn: Any, x: Operand) -> Operand:
    m = _Matrix(b, x)
    for j in range(m.columns):
        for i in range(j, m.rows):
            total = m.entry[i, j]
            for k in range(j):
                total = b.sub(total, b.mul(m.entry[i, k], m.entry[j, k]))
            if i == j:
                m.entry[i, j] = b.power(total, Fraction(1, 2))
            else:
                m.entry[i, j] = b.mul(total, b.power(m.entry[j, j], -1))
        for i in range(j):
            m.entry[i, j] = np.zeros(())
    return m.together()


@lowers("triangular_solve")
def _triangular_solve(b: Builder, eqn: Any, a: Operand, y: Operand) -> Operand:
    p = eqn.params
    ndim = len(shape_of(a))
    swap = [*range(ndim - 2), ndim - 1, ndim - 2]
    lower = p["lower"]
    if p["transpose_a"]:
        a, lower = b.transpose(a, swap), not lower
    if not p["left_side"]:  # x a = y is a^T x^T = y^T
        a, y, lower = b.transpose(a, swap), b.transpose(y, swap), not lower
    left, right = _Matrix(b, a), _Matrix(b, y)
    order = range(left.rows) if lower else reversed(range(left.rows))
    done: list[int] = []
    for i in order:
        for j in range(right.columns):
            total = right.entry[i, j]
            for k in done:
                total = b.sub(total, b.mul(left.entry[i, k], right.entry[k, j]))
            if not p["unit_diagonal"]:
                total = b.mul(total, b.power(left.entry[i, i], -1))
            right.entry[i, j] = total
        done.append(i)
    out = right.together()
    return out if p["left_side"] else b.transpose(out, swap)
