"""Linear algebra mod a prime: many small matrices at once with NumPy, large ones on FLINT.

A rank mod p is at most the rank over Q, whatever the prime and the point are.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from flint import nmod_mat

PRIME = 2**31 - 1
"""A prime whose products of two residues fit into 64 bits."""

_BOUND = math.isqrt(PRIME // 2)
_LONGEST = 2**14
"""Terms of a sum of products of 31 by 16 bits that stay below 2^63."""
_BLOCK = 2**10
"""Terms of a sum of products of 31 by 11 bits that stay below 2^53."""
_LARGE = 2**20
"""Products in one matrix from which on floating-point matrix products are faster."""
_SPARE = 16
"""Rows beyond twice the number of columns that are looked at first."""
_WEIGHTS = 2**12


def residue(value: Fraction | int) -> int | None:
    """Return a rational number mod `PRIME`, None if the prime divides its denominator.

    >>> residue(Fraction(1, 3)) * 3 % PRIME
    1
    """
    value = Fraction(value)
    if value.denominator == 1:
        return value.numerator % PRIME
    if value.denominator % PRIME == 0:
        return None
    return value.numerator * pow(value.denominator, -1, PRIME) % PRIME


def inverse(x: np.ndarray) -> np.ndarray:
    """Return the inverses mod `PRIME` (0 for 0), by Fermat's little theorem.

    >>> int(inverse(np.array([3]))[0]) * 3 % PRIME
    1
    """

    # x^(p - 2) with p - 2 = 2^31 - 3 = (2^29 - 1) 4 + 1: a chain for x^(2^29 - 1), two squarings.
    def squared(y: np.ndarray, times: int) -> np.ndarray:
        for _ in range(times):
            y = y * y % PRIME
        return y

    x = x % PRIME
    ones, length = x, 1  # x^(2^length - 1)
    for bit in "1101":  # 29 = 0b11101
        ones, length = ones * squared(ones, length) % PRIME, 2 * length
        if bit == "1":
            ones, length = squared(ones, 1) * x % PRIME, length + 1
    return squared(ones, 2) * x % PRIME


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the product mod `PRIME` of matrices, or stacks of matrices, of residues.

    >>> product(np.array([[2, 3]]), np.array([[1], [PRIME - 1]])).tolist()
    [[2147483646]]
    """
    inner = a.shape[-1]
    if inner * a.shape[-2] * b.shape[-1] > _LARGE:
        return _large_product(a, b)
    if inner > _LONGEST:
        total = np.zeros((), dtype=np.int64)
        for k in range(0, inner, _LONGEST):
            part = slice(k, k + _LONGEST)
            total = (total + product(a[..., part], b[..., part, :])) % PRIME
        return total
    high, low = a @ (b >> 16), a @ (b & 0xFFFF)
    return ((high % PRIME << 16) + low) % PRIME


def _large_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Multiply by parts of 11 bits, so that sums of products are exact in double precision."""
    total = np.zeros((), dtype=np.int64)
    for k in range(0, a.shape[-1], _BLOCK):
        left = a[..., k : k + _BLOCK].astype(float)
        right = b[..., k : k + _BLOCK, :]
        part = np.zeros((), dtype=np.int64)
        for shift in (22, 11, 0):
            digits = (right >> shift & 0x7FF).astype(float)
            part = ((part << 11) + (left @ digits).astype(np.int64) % PRIME) % PRIME
        total = (total + part) % PRIME
    return total


def combinations(rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return `count` random combinations of rows (all rows if there are no more than that)."""
    if len(rows) <= count:
        return rows
    total = np.zeros((count, rows.shape[1]), dtype=np.int64)
    for start in range(0, len(rows), 2**20):  # sums stay below 2^20 2^12 2^16 < 2^53
        block = rows[start : start + 2**20]
        weights = rng.integers(0, _WEIGHTS, (count, len(block))).astype(float)
        high, low = (
            (weights @ part.astype(float)).astype(np.int64)
            for part in (block >> 16, block & 0xFFFF)
        )
        total = (total + (high % PRIME << 16) + low) % PRIME
    return total


def ranks(stack: np.ndarray) -> np.ndarray:
    """Return the ranks mod `PRIME` of a stack of matrices (count, rows, columns).

    >>> ranks(np.array([[[1, 2], [2, 4]], [[1, 2], [3, 4]]])).tolist()
    [1, 2]
    """
    work = np.array(stack) % PRIME
    count, rows, columns = work.shape
    rank = np.zeros(count, dtype=np.int64)
    everyone = np.arange(count)
    for column in range(columns if rows else 0):
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


def _flint(rows: np.ndarray) -> nmod_mat:
    height, width = rows.shape
    return nmod_mat(height, width, (rows % PRIME).reshape(-1).tolist(), PRIME)


def rank(rows: np.ndarray) -> int:
    """Return the rank mod `PRIME`: a lower bound on the rank over Q.

    >>> rank(np.array([[1, 2], [2, 4]]))
    1
    """
    return int(_flint(rows).rank()) if rows.size else 0


def echelon(rows: np.ndarray) -> np.ndarray:
    """Return the rows of the reduced echelon form that are not zero.

    >>> echelon(np.array([[2, 4], [1, 2]])).tolist()
    [[1, 2]]
    """
    if not rows.size:
        return np.zeros((0, rows.shape[1]), dtype=np.int64)
    reduced, count = _flint(rows).rref()
    width = rows.shape[1]
    entries = reduced.entries()[: count * width]
    return np.array([int(x) for x in entries], dtype=np.int64).reshape(count, width)


def null_space(matrix: np.ndarray) -> np.ndarray:
    """Return a basis of the null space mod `PRIME` as rows, each 1 at a free column of its own.

    Columns before the free one hold the rest of a vector, so that vectors are zero behind it.

    >>> null_space(np.array([[1, 2, 0], [0, 0, 1]])).tolist()
    [[2147483645, 1, 0]]
    """
    matrix, few = matrix % PRIME, 2 * matrix.shape[1] + _SPARE
    chosen = matrix[:few]
    while True:
        basis = _null_space(chosen)
        left = matrix[product(matrix, basis.T).any(axis=1)] if len(basis) else matrix[:0]
        if not len(left):
            return basis
        chosen = np.concatenate([chosen, left[:few]])


def _null_space(matrix: np.ndarray) -> np.ndarray:
    columns = matrix.shape[1]
    if not matrix.size:
        return np.eye(columns, dtype=np.int64)
    kernel, nullity = _flint(matrix).nullspace()
    basis = np.array(
        [[int(kernel[i, k]) for i in range(columns)] for k in range(nullity)], dtype=np.int64
    ).reshape(nullity, columns)
    # The last entry of every vector that is not zero is at its free column.
    last = columns - 1 - np.argmax(basis[:, ::-1] != 0, axis=1)
    return basis * inverse(basis[np.arange(nullity), last])[:, None] % PRIME


def reconstruct(residue: int, largest: int = _BOUND) -> Fraction | None:
    """Return the fraction of small numerator and denominator with that residue, if there is one.

    Args:
        residue: The residue.
        largest: Bound on numerator and denominator; up to 2^15 the fraction is unique.

    >>> reconstruct(pow(3, -1, PRIME) * 2 % PRIME)
    Fraction(2, 3)
    """
    a, b = (PRIME, 0), (residue % PRIME, 1)
    while b[0] > largest:
        quotient = a[0] // b[0]
        a, b = b, (a[0] - quotient * b[0], a[1] - quotient * b[1])
    if b[1] == 0 or abs(b[1]) > largest:
        return None
    return Fraction(b[0], b[1])


def reconstructed(vector: np.ndarray, largest: int = _BOUND) -> list[Fraction] | None:
    """Return a vector of small fractions with these residues, None if some entry has none."""
    known = {x: reconstruct(x, largest) for x in set(vector.tolist())}
    out = [known[x] for x in vector.tolist()]
    return None if None in known.values() else out  # type: ignore[return-value]
