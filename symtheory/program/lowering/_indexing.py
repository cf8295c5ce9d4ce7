"""Gather, scatter and slices at places that are known, or that are values themselves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import primitives
from jax.lax import GatherDimensionNumbers, GatherScatterMode

from symtheory.program._builder import Builder, Operand, kind_of, shape_of
from symtheory.program._known import is_known, is_numeric
from symtheory.program.lowering._rule import lowers, shape_out

_LARGEST = 2**24
"""Entries up to which the places of an array are written down one by one."""


def _bounded(b: Builder, index: Operand, limit: int, filled: bool) -> Operand:
    """Return indices moved inside of 0 ... limit, or -1 for those outside where `filled`."""
    if not is_numeric([limit]):
        name = b.source.primitive.name
        b.refuse(
            f"the primitive {name!r}, an index into an axis whose size is a name",
            "bind the sizes, or write the loss without the index",
        )
    if filled:
        low = b.compare("ge", index, np.zeros((), dtype=np.int64))
        high = b.compare("le", index, np.asarray(limit))
        inside = b.apply("and", low, high, kind="b")
        return b.select(inside, np.full(shape_of(index), -1), index)
    low = b.extremum(index, np.zeros((), dtype=np.int64), True)
    return b.extremum(low, np.asarray(limit), False)


def _columns(b: Builder, indices: Operand) -> list[Operand]:
    """Return the components of an array of index vectors."""
    *batch, count = shape_of(indices)
    axis = len(batch)
    return [b.reshape(b.take(indices, np.array([k]), axis), batch) for k in range(count)]


def _fill(mode: Any, value: Any, x: Operand) -> Operand | None:
    if mode != GatherScatterMode.FILL_OR_DROP:
        return None
    if value is None:
        if kind_of(x) != "f":
            info = np.iinfo(np.int64)
            return np.asarray(info.min)
        return np.asarray(np.nan)
    return np.asarray(value, dtype=np.float64 if kind_of(x) == "f" else None)


# --- gather ------------------------------------------------------------------------------------


@lowers("gather")
def _gather(b: Builder, eqn: Any, x: Operand, indices: Operand) -> Operand:
    """Make the indexed axes one, after the shared ones, and choose along it."""
    p, d = eqn.params, eqn.params["dimension_numbers"]
    sizes, shape = tuple(map(int, p["slice_sizes"])), shape_of(x)
    fill = _fill(p["mode"], p.get("fill_value"), x)
    starts = [int(a) for a in d.start_index_map]
    batch = [int(a) for a in d.operand_batching_dims]
    collapsed = [int(a) for a in d.collapsed_slice_dims]
    windows = [a for a in starts if a not in collapsed]
    if fill is not None and any(sizes[a] != 1 for a in starts):
        if is_known(indices) and math.prod(shape) <= _LARGEST:
            return b.pick(x, _places(shape, indices, p), fill)
        b.refuse("a gather of windows with fill values at places that are not known")
    rest = [a for a in range(len(shape)) if a not in (*starts, *batch)]
    for a in rest:
        x = b.take(x, np.arange(sizes[a]), a)
    moved = b.transpose(x, [*batch, *starts, *rest])
    n = math.prod(shape[a] for a in starts)
    moved = b.reshape(moved, [*(shape[a] for a in batch), n, *(sizes[a] for a in rest)])
    shared = [int(a) for a in d.start_indices_batching_dims]
    free = [a for a in range(len(shape_of(indices)) - 1) if a not in shared]
    columns = [b.transpose(c, [*shared, *free]) for c in _columns(b, indices)]
    linear = _linear_places(b, columns, starts, windows, sizes, shape, fill is not None)
    out = b.choose(moved, linear, len(batch), len(batch), fill)
    # choose gives (*batch, *free, *windows, *rest); the result has the latter at `offset_dims`.
    outer = [*shared, *free]
    offset = [int(a) for a in d.offset_dims]
    order = [0] * len(shape_out(eqn))
    places = [a for a in range(len(order)) if a not in offset]
    for place, axis in zip(places, sorted(range(len(outer)), key=outer.__getitem__), strict=True):
        order[place] = axis
    inner = [*windows, *rest]
    for place, axis in zip(offset, sorted(inner), strict=True):
        order[place] = len(outer) + inner.index(axis)
    return b.transpose(out, order)


def _linear_places(
    b: Builder, columns: Sequence[Operand], starts: Sequence[int], windows: Sequence[int],
    sizes: Sequence[int], shape: Sequence[int], filled: bool,
) -> Operand:  # fmt: skip
    """Return row-major places on the indexed axes, with an axis for each window; -1 outside."""
    base = shape_of(columns[0]) if columns else ()
    linear: Operand = np.zeros((), dtype=np.int64)
    outside: Operand | None = None
    full = [*base, *(sizes[a] for a in windows)]
    for axis, column in zip(starts, columns, strict=True):
        place = _bounded(b, column, shape[axis] - sizes[axis], filled)
        if filled and len(starts) > 1:
            gone = b.compare("lt", place, np.zeros((), dtype=np.int64))
            outside = gone if outside is None else b.apply("or", outside, gone, kind="b")
        if windows:
            place = b.broadcast(place, full, range(len(base)))
        if axis in windows and sizes[axis] > 1:
            within = np.arange(sizes[axis])
            where = len(base) + list(windows).index(axis)
            place = b.add(place, b.broadcast(within, full, (where,)))
        if len(starts) > 1:
            place = b.add(b.mul(linear, np.asarray(shape[axis])), place)
        linear = place
    if outside is not None:
        if windows:
            outside = b.broadcast(outside, full, range(len(base)))
        linear = b.select(outside, linear, np.full(shape_of(linear), -1))
    return linear if columns else np.zeros((), dtype=np.int64)


def _window(
    b: Builder, x: Operand, columns: Sequence[Operand], starts: Sequence[int],
    sizes: Sequence[int], collapsed: Sequence[int], fill: Operand | None,
) -> Operand:  # fmt: skip
    """Return one window of given sizes at a place that may be a value."""
    for axis, start in zip(starts, columns, strict=True):
        n, size = shape_of(x)[axis], sizes[axis]
        if fill is not None and not is_known(start):
            b.refuse("a window with fill values at places that depend on samples or parameters")
        index = b.add(_bounded(b, start, n - size, False), np.arange(size))
        x = b.choose(x, index, axis, 0)
    kept = [n for axis, n in enumerate(shape_of(x)) if axis not in collapsed]
    return b.reshape(x, kept)


def _places(shape: Sequence[int], indices: np.ndarray, params: dict[str, Any]) -> np.ndarray:
    """Return the row-major places that a gather reads; -1 for those outside."""
    places = np.arange(math.prod(shape), dtype=np.int64).reshape(shape)
    with jax.enable_x64(True):
        out = np.asarray(
            primitives.gather_p.bind(places, np.asarray(indices), **{**params, "fill_value": -1})
        )
    return np.where(out >= math.prod(shape), -1, out)


@lowers("dynamic_slice")
def _dynamic_slice(b: Builder, eqn: Any, x: Operand, *starts: Operand) -> Operand:
    sizes = [int(n) for n in eqn.params["slice_sizes"]]
    moving = [a for a, n in enumerate(shape_of(x)) if n != sizes[a]]
    return _window(b, x, [starts[a] for a in moving], moving, sizes, (), None)


@lowers("dynamic_update_slice")
def _dynamic_update(b: Builder, eqn: Any, x: Operand, update: Operand, *starts: Operand) -> Operand:
    shape, sizes = shape_of(x), shape_of(update)
    inside: Operand = np.asarray(True)
    for axis, (n, size) in enumerate(zip(shape, sizes, strict=True)):
        if n == size:
            continue
        start = _bounded(b, starts[axis], n - size, False)
        if is_known(start):
            places = np.arange(n) - int(start)
            here: Operand = (places >= 0) & (places < size)
            update = b.take(update, np.clip(places, 0, size - 1), axis)
        else:
            away = b.sub(np.arange(n), start)
            above = b.compare("ge", away, np.zeros((), dtype=np.int64))
            here = b.apply("and", above, b.compare("lt", away, np.asarray(size)), kind="b")
            update = b.choose(update, _bounded(b, away, size - 1, False), axis, 0)
        inside = b.apply("and", inside, b.broadcast(here, shape, (axis,)), kind="b")
    return _spliced(b, x, update, inside) if shape_of(inside) else update


def _spliced(b: Builder, x: Operand, update: Operand, inside: Operand) -> Operand:
    """Return `update` where `inside`, else x; a known stretch of one axis is a concatenation."""
    if is_known(inside):
        axes = [a for a in range(inside.ndim) if np.any(inside != np.take(inside, [0], a))]
        if len(axes) == 1:
            [axis] = axes
            line = np.moveaxis(inside, axis, 0).reshape(inside.shape[axis], -1)[:, 0]
            places = np.flatnonzero(line)
            n = inside.shape[axis]
            both = b.concatenate(
                [b.take(x, np.arange(n), axis), b.take(update, places, axis)], axis
            )
            order = np.arange(n)
            order[places] = n + np.arange(len(places))
            return b.take(both, order, axis)
    return b.select(inside, x, update)


# --- scatter -----------------------------------------------------------------------------------

_COMBINE: dict[str, tuple[Callable[[Builder, Operand, Operand], Operand], float]] = {
    "scatter-add": (lambda b, x, u: b.add(x, u), 0.0),
    "scatter-sub": (lambda b, x, u: b.sub(x, u), 0.0),
    "scatter-mul": (lambda b, x, u: b.mul(x, u), 1.0),
    "scatter-min": (lambda b, x, u: b.extremum(x, u, False), np.inf),
    "scatter-max": (lambda b, x, u: b.extremum(x, u, True), -np.inf),
}


@lowers(
    "scatter", "scatter-add", "scatter_add", "scatter-sub", "scatter_sub", "scatter-mul",
    "scatter_mul", "scatter-min", "scatter_min", "scatter-max", "scatter_max",
)  # fmt: skip
def _scatter(b: Builder, eqn: Any, x: Operand, indices: Operand, updates: Operand) -> Operand:
    name = eqn.primitive.name.replace("_", "-")
    if not math.prod(shape_of(updates)) or not math.prod(shape_of(x)):
        return x
    if not is_known(indices):
        return _scatter_unknown(b, eqn, name, x, indices, updates)
    if math.prod(shape_of(x)) > _LARGEST:
        b.refuse("a scatter into so large an array")
    places = _scatter_places(shape_of(x), shape_of(updates), indices, eqn.params)
    along = _along_axis(shape_of(x), places)
    if along is not None:
        axis, order, shape, index = along
        updates = b.reshape(b.transpose(updates, order), shape)
        return _scatter_along(b, name, x, updates, axis, index)
    return _scatter_anywhere(b, name, x, updates, places)


def _scatter_places(
    shape: Sequence[int], updates: Sequence[int], indices: np.ndarray, params: dict[str, Any]
) -> np.ndarray:
    """Return where each update goes, -1 for those that are dropped.

    A scatter writes where the gather with the same dimension numbers reads.
    """
    d = params["dimension_numbers"]
    inserted = {*d.inserted_window_dims, *d.operand_batching_dims}
    window = iter([updates[i] for i in d.update_window_dims])
    sizes = tuple(1 if i in inserted else next(window) for i in range(len(shape)))
    clip = params["mode"] == GatherScatterMode.CLIP
    gather = {
        "dimension_numbers": GatherDimensionNumbers(
            offset_dims=d.update_window_dims,
            collapsed_slice_dims=d.inserted_window_dims,
            start_index_map=d.scatter_dims_to_operand_dims,
            operand_batching_dims=d.operand_batching_dims,
            start_indices_batching_dims=d.scatter_indices_batching_dims,
        ),
        "slice_sizes": sizes,
        "mode": GatherScatterMode.CLIP if clip else GatherScatterMode.FILL_OR_DROP,
        "indices_are_sorted": False,
        "unique_indices": False,
    }
    return _places(shape, indices, gather)


def _along_axis(
    shape: Sequence[int], places: np.ndarray
) -> tuple[int, Sequence[int], Sequence[int], np.ndarray] | None:
    """Recognize places that follow one axis.

    Returns:
        The axis, how to transpose and reshape the updates to the array's own axes, and where on the
        axis each of them goes; None if the places do anything else.
    """
    flat = np.arange(math.prod(shape)).reshape(shape)
    if np.any(places < 0) or places.ndim > 5:
        return None
    for axis, n in enumerate(shape):
        rest = math.prod(shape) // max(n, 1)
        if places.size % rest:
            continue
        want = [*shape[:axis], places.size // rest, *shape[axis + 1 :]]
        for order in itertools.permutations(range(places.ndim)):
            moved = places.transpose(order)
            if [k for k in moved.shape if k != 1] != [k for k in want if k != 1]:
                continue
            moved = moved.reshape(want)
            line = np.moveaxis(moved, axis, 0).reshape(want[axis], -1)[:, 0]
            index = line // math.prod(shape[axis + 1 :]) % n
            if np.array_equal(np.take(flat, index, axis), moved):
                return axis, order, want, index
    return None


def _scatter_along(
    b: Builder, name: str, x: Operand, updates: Operand, axis: int, index: np.ndarray
) -> Operand:
    n = shape_of(x)[axis]
    last = np.full(n, -1)
    last[index] = np.arange(len(index))  # of several writers the last one stays
    if name == "scatter":
        order = np.where(last >= 0, n + last, np.arange(n))
        if np.all(last >= 0):
            return b.take(b.like(updates, x), last, axis)
        return b.take(b.concatenate([x, b.like(updates, x)], axis), order, axis)
    combine, neutral = _COMBINE[name]
    if len(np.unique(index)) == len(index):
        return combine(b, x, b.take(updates, last, axis, np.asarray(neutral)))
    if name in ("scatter-add", "scatter-sub"):
        # Updates that meet are summed: a product with a matrix of zeros and ones.
        hits = (np.arange(n)[:, None] == index).astype(float)
        order = [k for k in range(len(shape_of(x))) if k != axis]
        rows = b.dot(hits, b.transpose(updates, [*order, axis]), 0, 1)
        back = [0] * len(shape_of(x))
        back[axis] = 0
        for k, a in enumerate(order):
            back[a] = k + 1
        return combine(b, x, b.transpose(rows, back))
    for k, place in enumerate(index):
        places = np.where(np.arange(n) == place, k, -1)
        x = combine(b, x, b.take(updates, places, axis, np.asarray(neutral)))
    return x


def _scatter_anywhere(
    b: Builder, name: str, x: Operand, updates: Operand, places: np.ndarray
) -> Operand:
    size, flat = math.prod(shape_of(x)), places.reshape(-1)
    kept = np.flatnonzero(flat >= 0)
    if name == "scatter":
        order = np.arange(size)
        order[flat[kept]] = size + kept
        both = b.concatenate(
            [b.reshape(x, (size,)), b.reshape(b.like(updates, x), (flat.size,))], 0
        )
        return b.reshape(b.take(both, order, 0), shape_of(x))
    combine, neutral = _COMBINE[name]
    while len(kept):  # one round for every update that meets another at the same place
        _, first = np.unique(flat[kept], return_index=True)
        source = np.full(size, -1)
        source[flat[kept[first]]] = kept[first]
        part = b.pick(updates, source.reshape(shape_of(x)), np.asarray(neutral))
        x = combine(b, x, part)
        kept = np.delete(kept, first)
    return x


def _scatter_unknown(
    b: Builder, eqn: Any, name: str, x: Operand, indices: Operand, updates: Operand
) -> Operand:
    """Scatter along axes whose places are values: compare the places with every position."""
    d, shape = eqn.params["dimension_numbers"], shape_of(x)
    axes = [int(a) for a in d.scatter_dims_to_operand_dims]
    batch = [int(a) for a in d.operand_batching_dims]
    window = [int(a) for a in d.update_window_dims]
    rest = [a for a in range(len(shape)) if a not in (*axes, *batch)]
    # A window of length 1 along an indexed axis is no window: its axis is left out.
    inserted = {int(a) for a in (*d.inserted_window_dims, *batch)}
    held = dict(zip([a for a in range(len(shape)) if a not in inserted], window, strict=True))
    single = [held[a] for a in axes if a in held]
    if any(shape_of(updates)[k] != 1 for k in single):
        b.refuse("a scatter of windows to places that depend on samples or parameters")
    left = [k for k in range(len(shape_of(updates))) if k not in single]
    updates = b.reshape(updates, [shape_of(updates)[k] for k in left])
    window = [left.index(k) for k in window if k not in single]
    if [shape_of(updates)[k] for k in window] != [shape[a] for a in rest]:
        b.refuse("a scatter of windows to places that depend on samples or parameters")
    if name not in ("scatter", "scatter-add", "scatter-sub"):
        b.refuse(f"a {name} to places that depend on samples or parameters")
    n, groups = math.prod(shape[a] for a in axes), [shape[a] for a in batch]
    others = [shape[a] for a in rest]
    target = b.reshape(b.transpose(x, [*batch, *axes, *rest]), [*groups, n, *others])
    shared = [int(a) for a in d.scatter_indices_batching_dims]
    free = [a for a in range(len(shape_of(indices)) - 1) if a not in shared]
    count = math.prod(shape_of(indices)[a] for a in free)
    linear: Operand = np.zeros((), dtype=np.int64)
    inside: Operand = np.asarray(True)
    clip = eqn.params["mode"] == GatherScatterMode.CLIP
    for axis, column in zip(axes, _columns(b, indices), strict=True):
        column = b.reshape(b.transpose(column, [*shared, *free]), [*groups, count])
        if not clip:
            ok = b.apply(
                "and",
                b.compare("ge", column, np.zeros((), dtype=np.int64)),
                b.compare("lt", column, np.asarray(shape[axis])),
                kind="b",
            )
            inside = ok if is_known(inside) else b.apply("and", inside, ok, kind="b")
        column = _bounded(b, column, shape[axis] - 1, False)
        linear = b.add(b.mul(linear, np.asarray(shape[axis])), column) if len(axes) > 1 else column
    if not is_known(inside):
        linear = b.select(inside, np.full(shape_of(linear), -1), linear)
    scattered = [a for a in range(len(shape_of(updates))) if a not in window]
    order = [*(scattered[a] for a in (*shared, *free)), *window]
    rows = b.reshape(b.transpose(updates, order), [*groups, count, *others])
    g = len(groups)
    spread = [*groups, n, count]
    place = b.broadcast(np.arange(n), spread, (g,))
    hits = b.compare("eq", b.broadcast(linear, spread, [*range(g), g + 1]), place)
    if name == "scatter":
        for k in range(count):
            here = b.reshape(b.take(hits, np.array([k]), g + 1), [*groups, n])
            here = b.broadcast(here, shape_of(target), range(g + 1))
            row = b.take(rows, np.full(n, k), g)
            target = b.select(here, target, row)
    else:
        last = [*range(g), *range(g + 1, g + 1 + len(others)), g]
        total = b.dot(b.real(hits), b.transpose(rows, last), g, 1)
        target = _COMBINE[name][0](b, target, total)
    moved = b.reshape(target, [*groups, *(shape[a] for a in axes), *others])
    back = np.argsort([*batch, *axes, *rest])
    return b.transpose(moved, back.tolist())
