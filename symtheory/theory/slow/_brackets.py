"""Matrices flattened into sparse rows: independent ones, and the brackets that close their span."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from symtheory.errors import InputError

_MOST = 2000
"""Generators that an algebra may have."""

_BATCH = 12
"""Generators whose brackets with all others are taken at a time."""


def square(row: Any, dimension: int) -> Any:
    coo = row.tocoo()
    flat = coo.coords[-1]
    return scipy.sparse.csr_array(
        (coo.data, (flat // dimension, flat % dimension)), shape=(dimension, dimension)
    )


def orthonormal(rows: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """Return combinations of rows that are orthonormal in the Frobenius product of matrices."""
    if not len(rows):
        return rows
    values, vectors = np.linalg.eigh(rows @ gram @ rows.T)
    kept = values > 1e-10 * max(values[-1], 1e-300)
    return (vectors[:, kept] / np.sqrt(values[kept])).T @ rows


def closed(stack: Any, dimension: int) -> Any:
    """Return independent generators followed by brackets of them that close their span.

    The bracket of two random members lies in the span of a set exactly if (with probability one)
    all brackets do.
    """
    rng = np.random.default_rng(0)
    while True:
        count = stack.shape[0]
        basis = orthonormal(np.eye(count), (stack @ stack.T).toarray())
        x, y = (
            square(scipy.sparse.csr_array(c[None] @ stack), dimension)
            for c in rng.normal(size=(2, len(basis))) @ basis
        )
        if not len(_new(stack, basis, _flat(x @ y - y @ x))):
            return stack
        if count >= _MOST:
            raise InputError(f"the symmetries generate an algebra of more than {_MOST} dimensions")
        chosen = rng.permutation(count)[:_BATCH]
        rows = scipy.sparse.csr_array(
            scipy.sparse.vstack([_brackets(stack, k, dimension) for k in chosen])
        )
        rows = rows[np.flatnonzero(np.diff(rows.indptr))]
        fresh = _new(stack, basis, rows)
        stack = scipy.sparse.csr_array(scipy.sparse.vstack([stack, rows[fresh]]))


def _brackets(stack: Any, chosen: int, dimension: int) -> Any:
    """Return [A_k, A_chosen] for every k, flattened into rows."""
    coo = stack.tocoo()
    k, (i, j) = coo.row, np.divmod(coo.col, dimension)
    one = square(stack[[chosen]], dimension)
    shape = (stack.shape[0] * dimension, dimension)
    after = scipy.sparse.csr_array((coo.data, (k * dimension + i, j)), shape=shape) @ one
    before = scipy.sparse.csr_array((coo.data, (k * dimension + j, i)), shape=shape) @ one.T
    blocks, places, values = [], [], []
    for product, sign, turned in ((after, 1.0, False), (before, -1.0, True)):
        found = product.tocoo()
        (block, x), y = np.divmod(found.row, dimension), found.col
        x, y = (y, x) if turned else (x, y)
        blocks.append(block)
        places.append(x.astype(np.int64) * dimension + y)
        values.append(sign * found.data)
    where = (np.concatenate(blocks), np.concatenate(places))
    out = scipy.sparse.csr_array((np.concatenate(values), where), shape=stack.shape)
    out.sum_duplicates()
    largest = np.max(np.abs(out.data), initial=0.0)
    out.data[np.abs(out.data) < 1e-14 * largest] = 0.0
    out.eliminate_zeros()
    return out


def _flat(matrix: Any) -> Any:
    coo = matrix.tocoo()
    places = (np.zeros_like(coo.row), coo.row.astype(np.int64) * matrix.shape[1] + coo.col)
    return scipy.sparse.csr_array((coo.data, places), shape=(1, matrix.shape[0] * matrix.shape[1]))


def _new(stack: Any, basis: np.ndarray, rows: Any) -> np.ndarray:
    """Return which rows extend the span of an orthonormal basis, independently of one another."""
    inside = (rows @ stack.T).toarray() @ basis.T
    gram = (rows @ rows.T).toarray() - inside @ inside.T
    sizes = np.sqrt(np.maximum((rows @ rows.T).diagonal(), 1e-300))
    gram = gram / np.outer(sizes, sizes)
    found: list[int] = []
    rest = np.diag(gram).copy()
    columns = np.zeros((len(gram), 0))
    # Cholesky with pivots: each row taken is the one farthest from those before.
    while len(rest) and rest.max() > 1e-10:
        k = int(np.argmax(rest))
        column = (gram[:, k] - columns @ columns[k]) / np.sqrt(rest[k])
        columns = np.column_stack([columns, column])
        rest = rest - column**2
        rest[k] = 0.0
        found.append(k)
    return np.array(found, dtype=int)
