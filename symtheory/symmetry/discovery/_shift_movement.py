"""Rules that move entries about and never look at them; the same for every domain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend.core import primitives
from jax.lax import GatherDimensionNumbers, GatherScatterMode

from symtheory.errors import UnreadableError

Rule = Callable[..., Any]


def _broadcast(x: np.ndarray, *_: Any, shape: Any, broadcast_dimensions: Any, **__: Any) -> Any:
    expanded = [1] * len(shape)
    for axis, size in zip(broadcast_dimensions, x.shape, strict=True):
        expanded[axis] = size
    return np.broadcast_to(x.reshape(expanded), shape)


def _slice(x: np.ndarray, *, start_indices: Any, limit_indices: Any, strides: Any, **_: Any) -> Any:
    steps = strides or [1] * x.ndim
    ranges = zip(start_indices, limit_indices, steps, strict=True)
    return x[tuple(slice(start, stop, step) for start, stop, step in ranges)]


def _pad(x: np.ndarray, value: np.ndarray, *, padding_config: Any, **_: Any) -> np.ndarray:
    sizes = [
        max(low + high + n + max(n - 1, 0) * inner, 0)
        for n, (low, high, inner) in zip(x.shape, padding_config, strict=True)
    ]
    out = np.empty(sizes, dtype=np.result_type(x.dtype, value.dtype))
    out[...] = value[()]
    source, target = [], []
    for n, size, (low, _high, inner) in zip(x.shape, sizes, padding_config, strict=True):
        kept = [i for i in range(n) if 0 <= low + i * (inner + 1) < size]
        source.append(kept)
        target.append([low + i * (inner + 1) for i in kept])
    out[np.ix_(*target)] = x[np.ix_(*source)]
    return out


def _split(x: np.ndarray, *, sizes: Any, axis: int, **_: Any) -> list[np.ndarray]:
    return np.split(x, np.cumsum(sizes)[:-1], axis=axis)


# --- places given by indices -------------------------------------------------------------------


def _fixed(name: str, *indices: Any) -> list[np.ndarray]:
    """Return indices as integers."""
    if any(not isinstance(i, np.ndarray) or i.dtype.kind not in "biu" for i in indices):
        raise UnreadableError(
            f"the primitive {name!r} moves entries to places that depend on parameters or "
            "samples; index with fixed integers"
        )
    return list(indices)


def _window(
    x: np.ndarray, indices: tuple[Any, ...], sizes: Any, name: str = "dynamic_slice"
) -> tuple[slice, ...]:
    """Return the window of given sizes at indices, moved inside of the array as in JAX."""
    starts = [int(i) for i in _fixed(name, *indices)]
    starts = [min(max(i, 0), n - k) for i, n, k in zip(starts, x.shape, sizes, strict=True)]
    return tuple(slice(i, i + k) for i, k in zip(starts, sizes, strict=True))


def _dynamic_slice(x: np.ndarray, *indices: Any, slice_sizes: Any, **_: Any) -> np.ndarray:
    return x[_window(x, indices, slice_sizes)]


def _dynamic_update(x: np.ndarray, update: np.ndarray, *indices: Any, **_: Any) -> np.ndarray:
    out = np.array(x, dtype=np.result_type(x.dtype, update.dtype))
    out[_window(x, indices, update.shape, "dynamic_update_slice")] = update
    return out


def _positions(x: np.ndarray, indices: np.ndarray, **params: Any) -> np.ndarray:
    """Gather the positions of an array's entries; -1 where a place is outside of it."""
    positions = np.arange(x.size, dtype=np.int64).reshape(x.shape)
    with jax.enable_x64(True):
        params = {**params, "fill_value": -1}
        return np.asarray(primitives.gather_p.bind(positions, indices, **params))


def _gather(x: np.ndarray, indices: Any, **params: Any) -> np.ndarray:
    [indices] = _fixed("gather", indices)
    places = _positions(x, indices, **params)
    if np.any(places < 0) or np.any(places >= x.size):
        raise UnreadableError("the primitive 'gather' reads outside of its array")
    return x.reshape(-1)[places]


def scatter_places(
    x: np.ndarray, indices: Any, updates: np.ndarray, *, dimension_numbers: Any, mode: Any, **_: Any
) -> np.ndarray:
    """Return where each update goes, -1 for those that are dropped.

    A scatter writes where the gather with the same dimension numbers reads.
    """
    [indices] = _fixed("scatter", indices)
    d = dimension_numbers
    inserted = {*d.inserted_window_dims, *d.operand_batching_dims}
    window = iter([updates.shape[i] for i in d.update_window_dims])
    sizes = tuple(1 if i in inserted else next(window) for i in range(x.ndim))
    clip = mode == GatherScatterMode.CLIP
    return _positions(
        x,
        indices,
        dimension_numbers=GatherDimensionNumbers(
            offset_dims=d.update_window_dims,
            collapsed_slice_dims=d.inserted_window_dims,
            start_index_map=d.scatter_dims_to_operand_dims,
            operand_batching_dims=d.operand_batching_dims,
            start_indices_batching_dims=d.scatter_indices_batching_dims,
        ),
        slice_sizes=sizes,
        mode=GatherScatterMode.CLIP if clip else GatherScatterMode.FILL_OR_DROP,
        indices_are_sorted=False,
        unique_indices=False,
    )


def _scatter(x: np.ndarray, indices: Any, updates: np.ndarray, **params: Any) -> np.ndarray:
    out = np.array(x, dtype=np.result_type(x.dtype, updates.dtype)).reshape(-1)
    places = scatter_places(x, indices, updates, **params).reshape(-1)
    for place, update in zip(places, updates.reshape(-1), strict=True):
        if place >= 0:
            out[place] = update
    return out.reshape(x.shape)


def _reduce_precision(x: Any, *, exponent_bits: int, mantissa_bits: int, **_: Any) -> Any:
    """Keep single precision and better, as `jax.checkpoint` writes it; refuse real rounding."""
    if exponent_bits >= 8 and mantissa_bits >= 23:
        return x
    raise UnreadableError("reduce_precision rounds, which exact readings cannot follow")


MOVEMENT: dict[str, Rule] = {
    "broadcast_in_dim": _broadcast,
    "reshape": lambda x, *_, new_sizes, **__: x.reshape(new_sizes),
    "transpose": lambda x, *, permutation: np.transpose(x, permutation),
    "squeeze": lambda x, *, dimensions: np.squeeze(x, tuple(dimensions)),
    "slice": _slice,
    "rev": lambda x, *, dimensions: np.flip(x, tuple(dimensions)),
    "stack": lambda *xs, axis, **_: np.stack(xs, axis=axis),
    "unstack": lambda x, *, axis, **_: list(np.moveaxis(x, axis, 0)),
    "tile": lambda x, *, reps, **_: np.tile(x, tuple(reps)),
    "concatenate": lambda *xs, dimension, **_: np.concatenate(xs, axis=dimension),
    "pad": _pad,
    "split": _split,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update,
    "gather": _gather,
    "scatter": _scatter,
    "copy": lambda x, **_: x,
    "copy_p": lambda x, **_: x,
    "stop_gradient": lambda x, **_: x,
    "reduce_precision": _reduce_precision,
    "name": lambda x, **_: x,
    "sharding_constraint": lambda x, **_: x,
    "optimization_barrier": lambda *xs, **_: list(xs),
}
"""Rules that hold for arrays of anything."""
