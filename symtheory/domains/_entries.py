"""Entries of object arrays: functions of them, truth values, infinite and undefined numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from flint import arb

from symtheory.program import FUNCTIONS

Scalar = Callable[..., Any]


def elementwise(function: Scalar, *arrays: Any) -> np.ndarray:
    """Apply a scalar function entry by entry, keeping zero-dimensional results arrays."""
    with np.errstate(invalid="ignore"):  # the functions treat NaN themselves
        out = boxed(np.frompyfunc(function, len(arrays), 1)(*arrays))
    return settled(out)


def boxed(value: Any) -> np.ndarray:
    """Return an array; NumPy gives bare entries for zero-dimensional object arrays."""
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    box = np.empty((), dtype=object)
    box[()] = value
    return box


def settled(array: np.ndarray) -> np.ndarray:
    """Return an object array of plain truth values as known ones."""
    if array.dtype == object and array.size and all(is_bool(x) for x in array.flat):
        return array.astype(bool)
    return array


def is_bool(value: Any) -> bool:
    """Tell whether a value is a plain truth value, not an element."""
    return isinstance(value, (bool, np.bool_))


def reduced(x: np.ndarray, axes: Sequence[int], function: Callable[[list[Any]], Any]) -> np.ndarray:
    """Apply a function of lists along axes."""
    kept = [k for k in range(x.ndim) if k not in axes]
    size = math.prod(x.shape[k] for k in axes)
    rows = x.transpose([*kept, *axes]).reshape(*(x.shape[k] for k in kept), size)
    out = np.empty(rows.shape[:-1], dtype=object)
    for index in np.ndindex(out.shape):
        out[index] = function(list(rows[index]))
    return out


# --- truth values, known or elements with the values 0 and 1 ---


def negate(condition: Any) -> Any:
    """Return not a."""
    return (not condition) if is_bool(condition) else 1 - condition


def both(a: Any, b: Any) -> Any:
    """Return a and b."""
    if is_bool(a):
        return b if a else False
    if is_bool(b):
        return a if b else False
    return a * b


def either(a: Any, b: Any) -> Any:
    """Return a or b."""
    return negate(both(negate(a), negate(b)))


# --- infinite and undefined numbers ------------------------------------------------------------


def at_infinity(domain: Any, name: str, function: Scalar) -> Scalar:
    """Extend a function of elements to infinite arguments, such as the masked logits of softmax."""
    row = FUNCTIONS.get("log" if name == "sqrt" else name)
    if row is None or row.limits == (None, None):
        return function

    def extended(x: Any) -> Any:
        sign = infinity(x)
        limit = row.limits[(sign + 1) // 2] if sign else None
        if limit is None:
            return function(x)
        return domain.scalar(Fraction(limit)) if math.isfinite(limit) else domain.infinite(limit)

    return extended


def infinity(value: Any) -> int:
    """Return 1 or -1 for an infinite number, 0 for anything else."""
    if isinstance(value, float):
        return (value == np.inf) - (value == -np.inf)
    if getattr(value, "is_infinite", False):  # SymPy's oo
        return 1 if value > 0 else -1
    return 0


def is_nan(value: Any) -> bool:
    """Tell whether a value is NaN for sure, as a literal or as a ball."""
    if isinstance(value, float):
        return value != value
    return isinstance(value, arb) and bool(value.is_nan()) and bool(value.is_exact())
