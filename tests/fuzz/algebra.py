"""Matrices: flows of generators, bases of fields, echelon forms, mirrors."""

from __future__ import annotations

import itertools

import numpy as np
import scipy.linalg

_TIMES = (0.5, -0.5, 1.0, -1.0, 2.5, -2.5, 6.0, -6.0)
_FAR = (0.5, -0.5, 3.0, -3.0, 40.0, -40.0, 1e3, -1e3)


def flow(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return exp(t A) and the shifts that go with it at several t."""
    d = len(a)
    size = max(np.max(np.abs(a)), 1e-300) if np.any(a) else np.max(np.abs(b))
    whole = np.zeros((d + 1, d + 1))
    whole[:d, :d], whole[:d, d] = a / size, b / size
    nilpotent = not np.any(np.linalg.matrix_power(whole, d + 1))
    maps = [scipy.linalg.expm(t * whole) for t in (_FAR if nilpotent else _TIMES)]
    return np.stack([m[:d, :d] for m in maps]), np.stack([m[:d, d] for m in maps])


def basis(d: int, kind: str) -> list[tuple[np.ndarray, np.ndarray]]:
    out = []
    for i, j in itertools.product(range(d), repeat=2):
        a = np.zeros((d, d))
        a[i, j] = 1.0
        if kind == "symmetric":
            a[j, i] = 1.0
        if kind in ("affine", "linear") or (kind == "symmetric" and i <= j):
            out.append((a, np.zeros(d)))
    if kind in ("affine", "shift"):
        out += [(np.zeros((d, d)), row) for row in np.eye(d)]
    return out


def reduced(null: np.ndarray) -> np.ndarray:
    """Return a reduced echelon basis; numbers near simple fractions become these."""
    rows, pivots = null.copy(), 0
    while pivots < len(rows):
        rest = np.abs(rows[pivots:])
        if not np.any(rest > 1e-7):
            break
        i, j = np.unravel_index(np.argmax(rest), rest.shape)
        rows[[pivots, pivots + i]] = rows[[pivots + i, pivots]]
        rows[pivots] /= rows[pivots, j]
        others = np.arange(len(rows)) != pivots
        rows[others] -= np.outer(rows[others, j], rows[pivots])
        pivots += 1
    near = np.round(rows * 12) / 12
    return np.where(np.abs(rows - near) < 1e-6, near, rows)


def involutions(d: int) -> list[np.ndarray]:
    out = []
    for order in itertools.permutations(range(d)):
        if any(order[order[i]] != i for i in range(d)):
            continue
        pairs = [i for i in range(d) if order[i] >= i]
        for signs in itertools.product([1.0, -1.0], repeat=len(pairs)):
            mirror = np.zeros((d, d))
            for i, sign in zip(pairs, signs, strict=True):
                mirror[i, order[i]] = mirror[order[i], i] = sign
            if np.any(mirror != np.eye(d)):
                out.append(mirror)
    return out
