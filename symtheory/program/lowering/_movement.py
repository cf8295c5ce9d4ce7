"""Primitives that move entries about, to places that are known."""

from __future__ import annotations

from typing import Any

import numpy as np

from symtheory.program._builder import Builder, Operand, Positions, shape_of
from symtheory.program._known import is_numeric
from symtheory.program.lowering._rule import alias, kind_out, lowers, shape_out


@lowers("broadcast_in_dim")
def _broadcast(b: Builder, eqn: Any, x: Operand, *_: Operand) -> Operand:
    if isinstance(x, Positions):
        axis = eqn.params["broadcast_dimensions"][x.axis]
        shape = tuple(eqn.params["shape"])
        if shape[axis] != x.sizes[x.axis]:
            b.refuse("positions along an axis of length one at sizes that are names")
        return Positions(axis, shape)
    return b.broadcast(x, shape_out(eqn), eqn.params["broadcast_dimensions"])


@lowers("reshape")
def _reshape(b: Builder, eqn: Any, x: Operand, *_: Operand) -> Operand:
    if eqn.params.get("dimensions") is not None:
        x = b.transpose(x, eqn.params["dimensions"])
    return b.reshape(x, shape_out(eqn))


@lowers("squeeze", "expand_dims")
def _squeeze(b: Builder, eqn: Any, x: Operand) -> Operand:
    return b.reshape(x, shape_out(eqn))


@lowers("transpose")
def _transpose(b: Builder, eqn: Any, x: Operand) -> Operand:
    return b.transpose(x, eqn.params["permutation"])


@lowers("slice")
def _slice(b: Builder, eqn: Any, x: Operand) -> Operand:
    p = eqn.params
    steps = p["strides"] or [1] * len(p["start_indices"])
    for axis, window in enumerate(zip(p["start_indices"], p["limit_indices"], steps, strict=True)):
        start, stop, step = window
        if start == 0 and step == 1 and stop == shape_of(x)[axis]:
            continue
        if not is_numeric((start, stop, shape_of(x)[axis])):
            b.refuse(
                "the primitive 'slice' at sizes that are names",
                "bind the sizes, or write the loss without it",
            )
        x = b.take(x, np.arange(start, stop, step), axis)
    return x


@lowers("rev")
def _rev(b: Builder, eqn: Any, x: Operand) -> Operand:
    for axis in eqn.params["dimensions"]:
        x = b.take(x, np.arange(shape_of(x)[axis])[::-1], axis)
    return x


@lowers("concatenate")
def _concatenate(b: Builder, eqn: Any, *xs: Operand) -> Operand:
    return b.concatenate(xs, eqn.params["dimension"])


@lowers("pad")
def _pad(b: Builder, eqn: Any, x: Operand, fill: Operand) -> Operand:
    for axis, (low, high, inner) in enumerate(eqn.params["padding_config"]):
        if not (low or high or inner):
            continue
        n = shape_of(x)[axis]
        size = low + high + n + max(n - 1, 0) * inner
        source = (np.arange(max(size, 0)) - low) / (inner + 1)
        inside = (source == np.floor(source)) & (source >= 0) & (source < n)
        x = b.take(x, np.where(inside, source, -1).astype(np.int64), axis, fill)
    return x


@lowers("split")
def _split(b: Builder, eqn: Any, x: Operand) -> list[Operand]:
    axis, start, out = eqn.params["axis"], 0, []
    for size in eqn.params["sizes"]:
        out.append(b.take(x, np.arange(start, start + size), axis))
        start += size
    return out


@lowers("stack")
def _stack(b: Builder, eqn: Any, *xs: Operand) -> Operand:
    axis = eqn.params["axis"]
    shape = list(shape_of(xs[0]))
    rows = [b.reshape(x, [*shape[:axis], 1, *shape[axis:]]) for x in xs]
    return b.concatenate(rows, axis)


@lowers("unstack")
def _unstack(b: Builder, eqn: Any, x: Operand) -> list[Operand]:
    axis, shape = eqn.params["axis"], list(shape_of(x))
    del shape[axis]
    size = shape_of(x)[axis]
    return [b.reshape(b.take(x, np.array([k]), axis), shape) for k in range(size)]


@lowers("tile")
def _tile(b: Builder, eqn: Any, x: Operand) -> Operand:
    reps = tuple(eqn.params["reps"])
    shape = shape_of(x)
    shape = (*[1] * (len(reps) - len(shape)), *shape)
    doubled = [size for pair in zip(reps, shape, strict=True) for size in pair]
    x = b.broadcast(b.reshape(x, shape), doubled, range(1, 2 * len(shape), 2))
    return b.reshape(x, [r * n for r, n in zip(reps, shape, strict=True)])


@lowers("iota")
def _iota(b: Builder, eqn: Any, *_: Operand) -> Operand:
    shape, axis = tuple(eqn.params["shape"]), eqn.params["dimension"]
    if not is_numeric(shape):
        return Positions(axis, shape)
    column = np.arange(shape[axis], dtype=_held(eqn)).reshape(
        [-1 if k == axis else 1 for k in range(len(shape))]
    )
    return np.broadcast_to(column, shape)


@lowers("empty", "empty2")
def _empty(b: Builder, eqn: Any, *_: Operand) -> Operand:
    """Stand in for a value that is never looked at."""
    return np.zeros(shape_out(eqn), dtype=_held(eqn))


def _held(eqn: Any) -> Any:
    """Return the type in which a known result is computed."""
    return {"f": np.float64, "b": np.bool_}.get(kind_out(eqn), np.int64)


@lowers("dim_as_value")
def _dim_as_value(b: Builder, eqn: Any, *_: Operand) -> Operand:
    return eqn.params["dim"]


@lowers("platform_index")
def _platform(b: Builder, eqn: Any, *_: Operand) -> Operand:
    """Take the branch written for every platform."""
    return np.asarray(list(eqn.params["platforms"]).index(None), dtype=np.int32)


alias(
    lambda b, x: x,
    "copy", "copy_p", "stop_gradient", "name", "sharding_constraint", "pvary", "copy_start",
)  # fmt: skip


@lowers("optimization_barrier")
def _barrier(b: Builder, eqn: Any, *xs: Operand) -> list[Operand]:
    return list(xs)
