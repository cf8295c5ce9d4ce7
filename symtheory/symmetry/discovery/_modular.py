"""Linear algebra mod a prime: many small matrices at once with NumPy, large ones on FLINT."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from flint import nmod_mat

PRIME = 2**31 - 1
"""A prime whose products of two residues fit into 64 bits."""

_BOUND = math.isqrt(PRIME // 2)


def inverse(x: np.ndarray) -> np.ndarray:
    """Return the inverses mod `PRIME` (0 for 0), by Fermat's little theorem.

    >>> int(inverse(np.array([3]))[0]) * 3 % PRIME
    1
    """
    out, power, exponent = np.ones_like(x), x % PRIME, PRIME - 2
    while exponent:
        if exponent & 1:
            out = out * power % PRIME
        exponent >>= 1
        power = power * power % PRIME
    return out


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the product mod `PRIME` of matrices, or stacks of matrices, of residues.

    >>> product(np.array([[2, 3]]), np.array([[1], [PRIME - 1]])).tolist()
    [[2147483646]]
    """
    out = np.zeros((*a.shape[:-1], b.shape[-1]), dtype=np.int64)
    if a.shape[-2] * b.shape[-1] <= 4:  # a few long sums
        terms = a[..., :, None, :] * np.swapaxes(b, -1, -2)[..., None, :, :] % PRIME
        return terms.sum(axis=-1) % PRIME
    for k in range(a.shape[-1]):
        out += a[..., :, k, None] * b[..., None, k, :] % PRIME
    return out % PRIME


def ranks(stack: np.ndarray) -> np.ndarray:
    """Return the ranks mod `PRIME` of a stack of matrices (count, rows, columns).

    >>> ranks(np.array([[[1, 2], [2, 4]], [[1, 2], [3, 4]]])).tolist()
    [1, 2]
    """
    work = np.array(stack) % PRIME
    count, rows, columns = work.shape
    rank = np.zeros(count, dtype=np.int64)
    everyone = np.arange(count)
    for column in range(columns):
        open_rows = np.arange(rows)[None, :] >= rank[:, None]
        candidates = (work[:, :, column] != 0) & open_rows
        found = candidates.any(axis=1)
        if not found.any():
            continue
        pivot = np.where(found, candidates.argmax(axis=1), 0)
        target = np.minimum(rank, rows - 1)
        moved = found & (pivot != target)
        who = everyone[moved]
        upper, lower = work[who, target[moved]], work[who, pivot[moved]]
        work[who, target[moved]], work[who, pivot[moved]] = lower, upper
        line = work[everyone, target] * inverse(work[everyone, target, column])[:, None] % PRIME
        below = np.arange(rows)[None, :] > rank[:, None]
        factor = np.where(below & found[:, None], work[:, :, column], 0)
        work = (work - factor[:, :, None] * line[:, None, :]) % PRIME
        rank += found
    return rank


def null_space(matrix: np.ndarray) -> np.ndarray:
    """Return a basis of the null space mod `PRIME` as rows, 1 at its own free column.

    >>> null_space(np.array([[1, 2, 0], [0, 0, 1]])).tolist()
    [[2147483645, 1, 0]]
    """
    rows, columns = matrix.shape
    reduced, rank = nmod_mat(rows, columns, (matrix % PRIME).reshape(-1).tolist(), PRIME).rref()
    if rank == columns:
        return np.zeros((0, columns), dtype=np.int64)
    table = np.array([int(x) for x in reduced.entries()], dtype=np.int64).reshape(rows, columns)
    pivots = [int(np.flatnonzero(table[i])[0]) for i in range(rank)]
    free = [j for j in range(columns) if j not in set(pivots)]
    basis = np.zeros((len(free), columns), dtype=np.int64)
    basis[np.arange(len(free)), free] = 1
    basis[:, pivots] = -table[:rank][:, free].T % PRIME
    return basis


def reconstruct(residue: int) -> Fraction | None:
    """Return the fraction of small numerator and denominator with that residue, if there is one.

    >>> reconstruct(pow(3, -1, PRIME) * 2 % PRIME)
    Fraction(2, 3)
    """
    a, b = (PRIME, 0), (residue % PRIME, 1)
    while b[0] > _BOUND:
        quotient = a[0] // b[0]
        a, b = b, (a[0] - quotient * b[0], a[1] - quotient * b[1])
    if b[1] == 0 or abs(b[1]) > _BOUND:
        return None
    return Fraction(b[0], b[1])
