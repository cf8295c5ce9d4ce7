"""Points at which claims are evaluated: many magnitudes, sparse, tied, negative, all equal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_MAGNITUDES = (1.0, 1e-1, 1e1, 1e-2, 1e2, 1e-3, 1e3)
_FAR = (1e5, 1e7)
"""Beyond the usual magnitudes: comparisons with large numbers are decided the other way there."""


def parameter_points(sizes: Sequence[int], count: int, rng: np.random.Generator) -> np.ndarray:
    """Return points of the flattened parameters, each of another kind, (count, d).

    Args:
        sizes: Number of entries of each leaf.
        count: How many points.
        rng: Where they come from.

    >>> parameter_points([2, 3], 40, np.random.default_rng(0)).shape
    (40, 5)
    """
    d = sum(sizes)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    kinds = [_generic, _scattered, _by_leaf, _sparse, _tied, _equal, _negative, _positive, _far]
    out = np.empty((count, d))
    for n in range(count):
        kind = _generic if n < 2 else kinds[n % len(kinds)]
        scale = _MAGNITUDES[(n // 3) % len(_MAGNITUDES)] if n >= 2 else 1.0
        out[n] = kind(d, scale, owner, rng)
    # Numbers that single precision holds too, so that both precisions see the same point.
    return out.astype(np.float32).astype(float)


def _generic(d: int, scale: float, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return scale * rng.normal(size=d)


def _scattered(d: int, scale: float, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.choice([-1.0, 1.0], d) * 10 ** rng.uniform(-3, 3, d)


def _by_leaf(d: int, scale: float, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    # One leaf far out, another next to 0: what the one decides is not hidden behind both.
    leaves = 10 ** rng.uniform(-5, 5, int(owner.max(initial=-1)) + 1)
    return leaves[owner] * rng.normal(size=d)


def _sparse(d: int, scale: float, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return scale * rng.normal(size=d) * (rng.random(d) < rng.choice([0.2, 0.5, 0.8]))


def _tied(d: int, scale: float, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return scale * rng.choice(rng.normal(size=2), d)


def _equal(d: int, scale: float, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.full(d, scale * rng.normal())


def _negative(d: int, scale: float, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return -scale * np.abs(rng.normal(size=d))


def _positive(d: int, scale: float, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return scale * np.abs(rng.normal(size=d))


def _far(d: int, scale: float, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    signed = [_generic, _positive, _negative, _equal, _sparse][int(rng.integers(5))]
    return signed(d, float(rng.choice(_FAR)), owner, rng)


def nearby(points: np.ndarray, rng: np.random.Generator, size: float = 1e-5) -> np.ndarray:
    """Return each point moved a little in every entry, those at 0 included."""
    level = np.max(np.abs(points), axis=-1, keepdims=True, initial=1e-3)
    moved = points * (1 + size * rng.normal(size=points.shape))
    moved = moved + size * size * level * rng.normal(size=points.shape)
    return moved.astype(np.float32).astype(float)


def rows_to_visit(columns: Sequence[np.ndarray], most: int, rng: np.random.Generator) -> np.ndarray:
    """Return which rows of a data set are evaluated: all, or extremes and a random subset.

    >>> len(rows_to_visit([np.arange(9.0)], 20, np.random.default_rng(0)))
    9
    """
    count = len(columns[0])
    if count <= most:
        return np.arange(count)
    chosen: list[int] = []
    flat = [np.asarray(c, dtype=float).reshape(count, -1) for c in columns]
    for column in flat:
        for values in column.T[: most // 8]:
            chosen += [int(np.argmin(values)), int(np.argmax(values))]
            # Labels: one row of every class.
            if column.shape[1] == 1 and np.all(values == np.rint(values)):
                chosen += np.unique(values, return_index=True)[1][: most // 8].tolist()
        size = np.max(np.abs(column), axis=1, initial=0.0)
        chosen += [int(np.argmin(size)), int(np.argmax(size))]
    kept = np.array(list(dict.fromkeys(chosen))[: most // 2], dtype=int)
    rest = np.setdiff1d(np.arange(count), kept)
    return np.concatenate([kept, rng.choice(rest, most - len(kept), replace=False)])
