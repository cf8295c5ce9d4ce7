"""Core operations on known integers and truth values: positions, labels, masks, counters.

They do what JAX does with integers. What is not in the table, or is given None for, becomes a value
of the domain that reads the program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np

from symtheory.program._types import kind_of_type


def is_known(x: Any) -> bool:
    """Tell whether a value is an array of integers or truth values that are known.

    >>> is_known(np.arange(2)), is_known(np.ones(2))
    (True, False)
    """
    return isinstance(x, np.ndarray) and x.dtype.kind in "biu"


def is_numeric(sizes: Iterable[Any]) -> bool:
    """Tell whether all sizes of a shape are integers, none of them symbolic.

    >>> from jax import export
    >>> is_numeric((2, 3)), is_numeric(export.symbolic_shape("n, 3"))
    (True, False)
    """
    return all(isinstance(size, (int, np.integer)) for size in sizes)


def _take(x: np.ndarray, fill: np.ndarray | None = None, *, places: Any, axis: int) -> np.ndarray:
    if not x.shape[axis]:
        shape = (*x.shape[:axis], len(places), *x.shape[axis + 1 :])
        return np.full(shape, 0 if fill is None else fill, dtype=x.dtype)
    out = np.take(x, np.maximum(places, 0), axis)
    if fill is not None:
        missing = np.expand_dims(places < 0, [k for k in range(x.ndim) if k != axis])
        out = np.where(missing, fill.astype(x.dtype), out)
    return out


def _pick(x: np.ndarray, fill: np.ndarray | None = None, *, places: np.ndarray) -> np.ndarray:
    flat = x.reshape(-1) if x.size else np.zeros(1, dtype=x.dtype)
    out = flat[np.maximum(places, 0)]
    return out if fill is None else np.where(places < 0, fill.astype(x.dtype), out)


def choose_known(
    x: np.ndarray, index: np.ndarray, fill: Any = None, *, axis: int, batch: int
) -> np.ndarray:
    """Return the entries of an array of anything at known places (see `Domain.choose`)."""
    moved = np.moveaxis(x, axis, batch)
    tail = moved.ndim - batch - 1
    spread = np.expand_dims(np.maximum(index, 0), [index.ndim + k for k in range(tail)])
    rest = index.ndim - batch
    source = np.expand_dims(moved, [batch + 1 + k for k in range(max(rest - 1, 0))])
    if rest == 0:
        out = np.take_along_axis(moved, np.expand_dims(spread, batch), batch)
        out = np.squeeze(out, batch)
    else:
        grid = np.ogrid[tuple(slice(n) for n in (*index.shape[:batch],))] if batch else []
        where = [np.expand_dims(g, [g.ndim + k for k in range(rest)]) for g in grid]
        out = moved[(*where, np.maximum(index, 0))]
        del source, spread
    if fill is not None and np.any(index < 0):
        missing = np.expand_dims(index < 0, [index.ndim + k for k in range(tail)])
        out = np.where(np.broadcast_to(missing, out.shape), fill, out)
    # The indexed axes go where the axis was.
    return np.moveaxis(
        out, range(batch, batch + rest), range(axis, axis + rest)
    ) if rest and axis != batch else out  # fmt: skip


def _dot(x: np.ndarray, y: np.ndarray, *, batch: int, inner: int) -> np.ndarray:
    b, i, k = (
        x.shape[:batch], x.shape[batch : x.ndim - inner], x.shape[x.ndim - inner :],
    )  # fmt: skip
    j = y.shape[batch : y.ndim - inner]
    flat = int(np.prod(k, dtype=int))
    left = (
        x.reshape(*b, -1, flat) if flat else np.zeros((*b, int(np.prod(i, dtype=int)), 0), x.dtype)
    )
    right = (
        y.reshape(*b, -1, flat) if flat else np.zeros((*b, int(np.prod(j, dtype=int)), 0), y.dtype)
    )
    return (left @ np.swapaxes(right, -1, -2)).reshape((*b, *i, *j))


def _scale(x: np.ndarray, *, factor: Fraction) -> np.ndarray | None:
    return x.astype(np.int64) * int(factor) if factor.denominator == 1 else None


def _power(x: np.ndarray, *, exponent: Fraction) -> np.ndarray | None:
    whole = exponent.denominator == 1 and exponent >= 0
    return x.astype(np.int64) ** int(exponent) if whole else None


def _quotient(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    safe = np.where(y == 0, 1, y)
    return (np.sign(x) * np.sign(safe) * (np.abs(x) // np.abs(safe))).astype(x.dtype)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert,
    "abs": np.abs, "sign": np.sign, "floor": np.asarray, "ceil": np.asarray, "round": np.asarray,
    "trunc": np.asarray, "quotient": _quotient, "rem": np.fmod,
    "is_finite": lambda x: np.ones(x.shape, dtype=bool),
}  # fmt: skip


def _apply(*xs: np.ndarray, function: str) -> np.ndarray | None:
    return _FUNCTIONS[function](*xs) if function in _FUNCTIONS else None


_COMPARISONS: dict[str, Any] = {
    "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
}  # fmt: skip
_FOLDS: dict[str, Any] = {
    "max": np.max, "min": np.min, "product": np.prod, "all": np.all, "any": np.any,
}  # fmt: skip


def select_known(which: np.ndarray, *cases: Any) -> np.ndarray:
    """Return the entries of arrays of anything that known truth values or numbers choose."""
    shape = np.broadcast_shapes(which.shape, *(case.shape for case in cases))
    out = np.array(np.broadcast_to(cases[0], shape), dtype=np.result_type(*cases))
    chosen = np.broadcast_to(which, shape)
    for k, case in enumerate(cases[1:], 1):
        np.copyto(out, np.broadcast_to(case, shape), where=chosen == k)
    return out


def _sort(*xs: np.ndarray, axis: int, keys: int) -> list[np.ndarray]:
    moved = [np.moveaxis(x, axis, -1) for x in xs]
    order = np.lexsort(moved[:keys][::-1], axis=-1)
    return [np.moveaxis(np.take_along_axis(x, order, -1), -1, axis) for x in moved]


def _cast(x: np.ndarray, *, kind: str) -> np.ndarray | None:
    if kind in ("integer", "bit"):
        return x.astype(np.int64)
    if kind in ("real", "reduce_precision") or kind_of_type(kind) not in "iu":
        return None
    return wrapped(x, kind)


def wrapped(x: np.ndarray, kind: str) -> np.ndarray:
    """Return whole numbers as a type of integers holds them.

    >>> wrapped(np.array([200, -1]), "int8"), wrapped(np.array([9, -1]), "int4")
    (array([-56,  -1]), array([-7, -1]))
    """
    bounds = jnp.iinfo(kind)
    if bounds.bits == 64:
        return x.astype(kind)
    return (x.astype(np.int64) - int(bounds.min)) % 2**bounds.bits + int(bounds.min)


KNOWN: dict[str, Callable[..., Any]] = {
    "transpose": lambda x, *, permutation: np.transpose(x, permutation),
    "reshape": lambda x, *, shape: np.reshape(x, shape),
    "broadcast": lambda x, *, shape, axes: np.broadcast_to(
        np.expand_dims(x, [k for k in range(len(shape)) if k not in axes]), shape
    ),
    "take": _take,
    "pick": _pick,
    "concatenate": lambda *xs, axis: np.concatenate(xs, axis),
    "choose": choose_known,
    "add": np.add,
    "mul": np.multiply,
    "scale": _scale,
    "dot": _dot,
    "sum": lambda x, *, axes: np.sum(x, axis=axes, dtype=x.dtype if x.dtype.kind != "b" else None),
    "power": _power,
    "apply": _apply,
    "extremum": lambda x, y, *, largest: (np.maximum if largest else np.minimum)(x, y),
    "fold": lambda x, *, kind, axes: _FOLDS[kind](x, axis=axes),
    "compare": lambda x, y, *, kind: _COMPARISONS[kind](x, y),
    "select": lambda which, *cases: select_known(which, *cases),
    "sort": _sort,
    "cast": _cast,
}
"""Core operation by name, on known arrays."""
