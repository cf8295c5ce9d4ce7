"""Movement of the entries of NumPy arrays, for every domain whose values hold such arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def broadcast(x: np.ndarray, shape: Sequence[int], axes: Sequence[int]) -> np.ndarray:
    """See `Domain.broadcast`.

    >>> broadcast(np.array([1, 2]), (3, 2), (1,)).tolist()
    [[1, 2], [1, 2], [1, 2]]
    """
    order = sorted(range(len(axes)), key=axes.__getitem__)
    new = [k for k in range(len(shape)) if k not in axes]
    return np.broadcast_to(np.expand_dims(np.transpose(x, order), new), shape)


def take(x: np.ndarray, places: np.ndarray, axis: int, fill: np.ndarray | None) -> np.ndarray:
    """See `Domain.take`; places outside are moved inside."""
    if not x.shape[axis]:
        shape = (*x.shape[:axis], len(places), *x.shape[axis + 1 :])
        out = np.empty(shape, dtype=x.dtype)
        if fill is not None:
            out[...] = fill[()]
        return out
    out = np.take(x, np.clip(places, 0, x.shape[axis] - 1), axis)
    if fill is not None and np.any(places < 0):
        out = np.array(out)
        out[(slice(None),) * axis + (places < 0,)] = fill[()]
    return out


def pick(x: np.ndarray, places: np.ndarray, fill: np.ndarray | None) -> np.ndarray:
    """See `Domain.pick`."""
    if not x.size:
        out = np.empty(places.shape, dtype=x.dtype)
    else:
        out = np.array(x.reshape(-1)[np.clip(places, 0, x.size - 1)])
    out = out.reshape(places.shape)
    if fill is not None:
        out[places < 0] = fill[()]
    return out
