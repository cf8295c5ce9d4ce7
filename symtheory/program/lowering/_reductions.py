"""Sums, products and extrema along axes, running ones, orders and the largest of all."""

from __future__ import annotations

from typing import Any

import numpy as np

from symtheory.program._builder import Builder, Operand, shape_of
from symtheory.program.lowering._rule import lowers


@lowers("reduce_sum")
def _reduce_sum(b: Builder, eqn: Any, x: Operand) -> Operand:
    return b.sum(x, eqn.params["axes"])


_FOLDS = {
    "reduce_max": "max", "reduce_min": "min", "reduce_prod": "product", "reduce_and": "all",
    "reduce_or": "any",
}  # fmt: skip


@lowers(*_FOLDS)
def _fold(b: Builder, eqn: Any, x: Operand) -> Operand:
    return fold(b, x, _FOLDS[eqn.primitive.name], eqn.params["axes"])


NEUTRAL: dict[str, Any] = {
    "max": -np.inf, "min": np.inf, "product": 1.0, "sum": 0.0, "all": True, "any": False,
}  # fmt: skip


def fold(b: Builder, x: Operand, kind: str, axes: Any) -> Operand:
    """Return a sum, product or extremum along axes; of nothing it is the neutral number."""
    if kind == "sum":
        return b.sum(x, axes)
    axes = [int(k) for k in axes]
    if any(shape_of(x)[k] == 0 for k in axes):
        shape = [n for k, n in enumerate(shape_of(x)) if k not in axes]
        return np.full(shape, NEUTRAL[kind])
    return b.fold(x, kind, axes)


_RUNNING = {"cumsum": "sum", "cumprod": "product", "cummax": "max", "cummin": "min"}


@lowers(*_RUNNING)
def _running(b: Builder, eqn: Any, x: Operand) -> Operand:
    axis, reverse = eqn.params["axis"], eqn.params["reverse"]
    return running(b, x, _RUNNING[eqn.primitive.name], axis, reverse)


def running(b: Builder, x: Operand, kind: str, axis: int, reverse: bool) -> Operand:
    """Return what has been summed (or the like) up to each entry of an axis, itself included."""
    n, ndim = shape_of(x)[axis], len(shape_of(x))
    if n <= 1:
        return x
    k = np.arange(n)
    reached = k[None, :] >= k[:, None] if reverse else k[None, :] <= k[:, None]
    if kind == "sum":
        order = [a for a in range(ndim) if a != axis]
        out = b.dot(reached.astype(float), b.transpose(b.real(x), [*order, axis]), 0, 1)
        return b.transpose(
            out, [*(a + 1 for a in range(axis)), 0, *(a + 1 for a in range(axis, ndim - 1))]
        )
    places = np.where(reached, k[None, :], -1).reshape(-1)
    shape = list(shape_of(x))
    table = b.take(x, places, axis, np.asarray(NEUTRAL[kind]))
    table = b.reshape(table, [*shape[:axis], n, n, *shape[axis + 1 :]])
    return b.fold(table, kind, [axis + 1])


@lowers("cumlogsumexp")
def _cumlogsumexp(b: Builder, eqn: Any, x: Operand) -> Operand:
    total = running(b, b.apply("exp", x), "sum", eqn.params["axis"], eqn.params["reverse"])
    return b.apply("log", total)


@lowers("sort")
def _sort(b: Builder, eqn: Any, *xs: Operand) -> list[Operand]:
    return b.sort(xs, eqn.params["dimension"], eqn.params["num_keys"])


@lowers("top_k")
def _top_k(b: Builder, eqn: Any, x: Operand) -> list[Operand]:
    axis, k = eqn.params.get("axis", len(shape_of(x)) - 1), eqn.params["k"]
    places = b.broadcast(np.arange(shape_of(x)[axis]), shape_of(x), (axis,))
    values, order = b.sort([b.scale(x, -1), places], axis, 1)
    first = np.arange(k)
    return [b.scale(b.take(values, first, axis), -1), b.take(order, first, axis)]


@lowers("argmax", "argmin")
def _argument(b: Builder, eqn: Any, x: Operand) -> Operand:
    """Keep the best entry so far and where it is; of equal ones the first counts."""
    [axis] = eqn.params["axes"]
    shape = list(shape_of(x))
    n = shape.pop(axis)
    entry = lambda k: b.reshape(b.take(x, np.array([k]), axis), shape)
    best, place = entry(0), np.zeros(shape, dtype=np.int64)
    for k in range(1, n):
        new = entry(k)
        pair = (new, best) if eqn.primitive.name == "argmax" else (best, new)
        better = b.compare("gt", *pair)
        best = b.select(better, best, new)
        place = b.select(better, place, np.full(shape, k))
    return place


@lowers("reduce")
def _reduce(b: Builder, eqn: Any, x: Operand, start: Operand, *more: Operand) -> list[Operand]:
    """`lax.reduce` with a known combination of two numbers."""
    kind = combination(eqn)
    if kind is None or more:
        b.refuse("a reduction by a function of its own", "use jnp.sum, jnp.max or jnp.prod")
    return [joined(b, fold(b, x, str(kind), eqn.params["dimensions"]), start, str(kind))]


_COMBINATIONS = {
    "add": "sum", "mul": "product", "max": "max", "min": "min", "and": "all", "or": "any",
}  # fmt: skip


def combination(eqn: Any) -> str | None:
    """Return how a reduction joins two numbers, None if by a function of its own."""
    body = getattr(eqn.params["jaxpr"], "jaxpr", eqn.params["jaxpr"])
    if len(body.eqns) != 1:
        return None
    [join] = body.eqns
    both = len(body.invars) == 2 and {*map(id, join.invars)} == {*map(id, body.invars)}
    known = both and list(join.outvars) == list(body.outvars)
    return _COMBINATIONS.get(join.primitive.name) if known else None


def joined(b: Builder, x: Operand, y: Operand, kind: str) -> Operand:
    """Return the sum, product or extremum of two values."""
    if kind in ("max", "min"):
        return b.extremum(x, y, kind == "max")
    if kind in ("all", "any"):
        return b.apply("and" if kind == "all" else "or", x, y, kind="b")
    return b.add(x, y) if kind == "sum" else b.mul(x, y)
