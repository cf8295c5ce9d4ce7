"""Products of arrays, convolutions, and windows that move over an array."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax import lax

from symtheory.program._builder import Builder, Operand, shape_of
from symtheory.program._types import rounds
from symtheory.program.lowering._reductions import NEUTRAL, combination, fold, joined
from symtheory.program.lowering._rule import lowers, stored


@lowers("dot_general")
def _dot_general(b: Builder, eqn: Any, x: Operand, y: Operand) -> Operand:
    (in_x, in_y), (batch_x, batch_y) = eqn.params["dimension_numbers"]
    in_x, in_y, batch_x, batch_y = (
        [int(k) for k in part] for part in (in_x, in_y, batch_x, batch_y)
    )
    free_x = [k for k in range(len(shape_of(x))) if k not in (*in_x, *batch_x)]
    free_y = [k for k in range(len(shape_of(y))) if k not in (*in_y, *batch_y)]
    left = b.transpose(x, [*batch_x, *free_x, *in_x])
    right = b.transpose(y, [*batch_y, *free_y, *in_y])
    left, right = _factors(b, eqn, left, right)
    return b.dot(left, right, len(batch_x), len(in_x))


def _factors(b: Builder, eqn: Any, *xs: Operand) -> list[Operand]:
    """Return factors as the type in which their product is computed holds them.

    A result in a coarse type may be computed in that type from the start; so is a product by an
    algorithm that names a coarse type.
    """
    if _is_coarse(eqn.params["precision"]):
        return [b.cast(b.real(x), "reduce_precision", "f") for x in xs]
    dtype = eqn.outvars[0].aval.dtype
    if not rounds(dtype):
        return list(xs)
    types = [v.aval.dtype for v in eqn.invars]
    return [x if t == dtype else stored(b, x, dtype) for x, t in zip(xs, types, strict=True)]


def _is_coarse(precision: Any) -> bool:
    """Tell whether the algorithm of a product names types coarser than single precision."""
    if isinstance(precision, lax.DotAlgorithmPreset):
        return precision.name not in ("DEFAULT", "F32_F32_F32", "F64_F64_F64")
    if isinstance(precision, lax.DotAlgorithm):
        types = (
            precision.lhs_precision_type, precision.rhs_precision_type,
            precision.accumulation_type,
        )  # fmt: skip
        return precision.allow_imprecise_accumulation or any(map(rounds, types))
    return False


# --- windows -----------------------------------------------------------------------------------


def window_places(
    n: int, size: int, stride: int, low: int, high: int, base: int, spread: int
) -> tuple[np.ndarray, int]:
    """Return where the windows along one axis read, -1 for padding, and how many windows there are.

    Args:
        n: Length of the axis.
        size: Entries of a window.
        stride: Steps between windows.
        low: Padding before the axis.
        high: Padding after it.
        base: Distance of the entries of the axis (holes are padding).
        spread: Distance of the entries of a window.

    >>> window_places(4, 2, 2, 0, 0, 1, 1)
    (array([0, 1, 2, 3]), 2)
    """
    length = low + high + (max(n - 1, 0) * base + 1 if n else 0)
    reach = (size - 1) * spread + 1
    count = max((length - reach) // stride + 1, 0) if size else 0
    at = np.arange(count)[:, None] * stride + np.arange(size)[None, :] * spread - low
    inside = (at >= 0) & (at % base == 0) & (at // base < n)
    return np.where(inside, at // base, -1).reshape(-1), count


def windows(
    b: Builder, x: Operand, first: int, specs: Sequence[tuple[int, ...]], fill: Any
) -> tuple[Operand, list[int]]:
    """Cut windows out of consecutive axes.

    Args:
        b: The builder.
        x: An array.
        first: The first of the axes.
        specs: (size, stride, low, high, base, spread) for each axis.
        fill: What padding holds.

    Returns:
        The array with every axis replaced by (windows, size), and the numbers of windows.
    """
    counts = []
    for k, spec in enumerate(specs):
        axis = first + 2 * k
        shape = list(shape_of(x))
        places, count = window_places(shape[axis], *spec)
        x = b.take(x, places, axis, np.asarray(fill))
        x = b.reshape(x, [*shape[:axis], count, spec[0], *shape[axis + 1 :]])
        counts.append(count)
    return x, counts


@lowers("conv_general_dilated")
def _convolution(b: Builder, eqn: Any, x: Operand, kernel: Operand) -> Operand:
    p = eqn.params
    d = p["dimension_numbers"]
    x, kernel = _factors(b, eqn, x, kernel)
    x, kernel = b.transpose(x, d.lhs_spec), b.transpose(kernel, d.rhs_spec)  # NC..., OI...
    taps = shape_of(kernel)[2:]
    specs = [
        (size, stride, low, high, base, spread)
        for size, stride, (low, high), base, spread in zip(
            taps, p["window_strides"], p["padding"], p["lhs_dilation"], p["rhs_dilation"],
            strict=True,
        )
    ]  # fmt: skip
    x, counts = windows(b, x, 2, specs, 0.0)  # (N, C, w1, k1, w2, k2, ...)
    s = len(taps)
    groups, batches = p["feature_group_count"], p["batch_group_count"]
    outputs, inputs = shape_of(kernel)[:2]
    g = groups * batches
    shape = shape_of(x)
    n, c = shape[:2]
    x = b.reshape(x, [batches, n // batches, groups, c // groups, *shape[2:]])
    wide = [4 + 2 * k for k in range(s)]
    deep = [5 + 2 * k for k in range(s)]
    # (batches, groups, N, windows..., C, taps...) against (batches * groups, O, C, taps...)
    x = b.transpose(x, [0, 2, 1, *wide, 3, *deep])
    x = b.reshape(x, [g, n // batches, *counts, c // groups, *taps])
    kernel = b.reshape(kernel, [g, outputs // g, inputs, *taps])
    if g == 1:
        x, kernel = b.reshape(x, shape_of(x)[1:]), b.reshape(kernel, shape_of(kernel)[1:])
        out = b.dot(x, kernel, 0, 1 + s)  # (N, windows..., O)
        out = b.transpose(out, [0, 1 + s, *range(1, 1 + s)])
    else:
        out = b.dot(x, kernel, 1, 1 + s)  # (G, N, windows..., O)
        out = b.transpose(out, [1, 0, 2 + s, *range(2, 2 + s)])
        out = b.reshape(out, [n // batches, outputs, *counts])
    back = np.argsort(d.out_spec)
    return b.transpose(out, back.tolist())


_WINDOWS = {
    "reduce_window_sum": "sum", "reduce_window_max": "max", "reduce_window_min": "min",
}  # fmt: skip


def _specs(p: dict[str, Any]) -> list[tuple[int, ...]]:
    size = p["window_dimensions"]
    ones = (1,) * len(size)
    return [
        (k, stride, low, high, base, spread)
        for k, stride, (low, high), base, spread in zip(
            size, p["window_strides"], p["padding"], p.get("base_dilation") or ones,
            p.get("window_dilation") or ones, strict=True,
        )
    ]  # fmt: skip


@lowers(*_WINDOWS)
def _reduce_window_known(b: Builder, eqn: Any, x: Operand) -> Operand:
    return _folded_windows(b, x, _WINDOWS[eqn.primitive.name], eqn.params)


@lowers("reduce_window")
def _reduce_window(
    b: Builder, eqn: Any, x: Operand, start: Operand, *more: Operand
) -> list[Operand]:
    kind = combination(eqn)
    if kind is None or more:
        b.refuse("a window reduction by a function of its own")
    return [joined(b, _folded_windows(b, x, str(kind), eqn.params), start, str(kind))]


def _folded_windows(b: Builder, x: Operand, kind: str, p: dict[str, Any]) -> Operand:
    x, _ = windows(b, x, 0, _specs(p), NEUTRAL[kind])
    return fold(b, x, kind, range(1, len(shape_of(x)), 2))


@lowers("select_and_scatter_add")
def _select_and_scatter_add(b: Builder, eqn: Any, source: Operand, x: Operand) -> Operand:
    """The gradient of a maximum over windows: each goes to the entry that was chosen."""
    p = eqn.params
    kind = {"ge": "max", "le": "min"}.get(str(p["select_prim"]))
    if kind is None:
        b.refuse(f"select_and_scatter_add with {p['select_prim']}")
    chosen, place = _chosen(b, x, str(kind), p)
    parts = b.mul(b.broadcast(source, shape_of(chosen), range(source.ndim)), b.real(chosen))
    return _put_back(b, parts, place, shape_of(x))


@lowers("select_and_gather_add")
def _select_and_gather_add(b: Builder, eqn: Any, tangent: Operand, x: Operand) -> Operand:
    """The derivative of a maximum over windows along a tangent."""
    p = eqn.params
    kind = {"ge": "max", "le": "min"}.get(str(p["select_prim"]))
    if kind is None:
        b.refuse(f"select_and_gather_add with {p['select_prim']}")
    chosen, place = _chosen(b, x, str(kind), p)
    flat = b.pick(tangent, place, np.asarray(0.0))
    return b.sum(b.mul(flat, b.real(chosen)), [len(shape_of(chosen)) - 1])


def _chosen(b: Builder, x: Operand, kind: str, p: dict[str, Any]) -> tuple[Operand, np.ndarray]:
    """Return which entry of each window is the first largest, and where in x each entry lies."""
    specs = _specs(p)

    def flat(y: Operand, fill: Any) -> Operand:
        cut, counts = windows(b, y, 0, specs, fill)
        s = len(specs)
        cut = b.transpose(cut, [*range(0, 2 * s, 2), *range(1, 2 * s, 2)])
        return b.reshape(cut, [*counts, math.prod(spec[0] for spec in specs)])

    places = np.arange(math.prod(shape_of(x)), dtype=np.int64).reshape(shape_of(x))
    place = np.asarray(flat(places, -1))
    entries = flat(x, NEUTRAL[kind])
    axis, size = place.ndim - 1, place.shape[-1]
    shape = place.shape[:-1]
    entry = lambda k: b.reshape(b.take(entries, np.array([k]), axis), shape)
    out = []
    for k in range(size):
        mine: Operand = np.ones(shape, dtype=bool)
        for other in range(size):
            if other != k:
                compare = "gt" if other < k else "ge"
                pair = (entry(k), entry(other)) if kind == "max" else (entry(other), entry(k))
                mine = b.apply("and", mine, b.compare(compare, *pair), kind="b")
        mine = b.apply("and", mine, np.take(place, k, axis) >= 0, kind="b")
        out.append(b.reshape(mine, [*shape, 1]))
    return b.concatenate(out, axis), place


def _put_back(b: Builder, parts: Operand, place: np.ndarray, shape: Sequence[int]) -> Operand:
    """Return the sum of what goes to each place of an array."""
    from symtheory.program.lowering._indexing import _scatter_anywhere

    return _scatter_anywhere(b, "scatter-add", np.zeros(shape), parts, place)
