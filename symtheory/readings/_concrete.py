"""Integers and booleans that no parameter or sample touches, computed with NumPy.

These are positions, sizes, masks and labels. A rule returns None where the result is a float,
which the domain then reads itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from symtheory.readings._interpreter import Rule


def _plain(function: Any) -> Rule:
    return lambda *xs, **_: function(*xs)


def _over(function: Any) -> Rule:
    return lambda x, *, axes, **_: function(x, axis=tuple(axes))


def _along(function: Any) -> Rule:
    return lambda x, *, axis, reverse, **_: cumulate(function, x, axis, reverse)


def cumulate(ufunc: Any, x: np.ndarray, axis: int, reverse: bool) -> np.ndarray:
    """Accumulate along an axis, from either end."""
    if reverse:
        return np.flip(cumulate(ufunc, np.flip(x, axis), axis, False), axis)
    return ufunc.accumulate(x, axis=axis)


def _divide(a: np.ndarray, b: np.ndarray, **_: Any) -> np.ndarray:
    quotient = np.abs(a) // np.abs(b)
    return (np.sign(a) * np.sign(b) * quotient).astype(a.dtype)


def _convert(x: np.ndarray, *, new_dtype: Any, **_: Any) -> Any:
    return x.astype(new_dtype) if np.dtype(new_dtype).kind in "biu" else None


def _select(which: np.ndarray, *cases: np.ndarray, **_: Any) -> np.ndarray:
    return select_concretely(which, cases)


def select_concretely(which: np.ndarray, cases: Any) -> np.ndarray:
    """Return the entries of the cases that concrete indices or truth values choose."""
    shape = np.broadcast_shapes(which.shape, cases[0].shape)
    chosen = np.broadcast_to(which, shape).astype(int)
    stacked = np.stack([np.broadcast_to(case, shape) for case in cases])
    return np.take_along_axis(stacked, chosen[None], axis=0)[0]


CONCRETE: dict[str, Rule] = {
    "add": _plain(np.add),
    "add_any": _plain(np.add),
    "sub": _plain(np.subtract),
    "mul": _plain(np.multiply),
    "neg": _plain(np.negative),
    "div": _divide,
    "rem": _plain(np.fmod),
    "abs": _plain(np.abs),
    "sign": _plain(np.sign),
    "square": _plain(np.square),
    "integer_pow": lambda x, *, y, **_: x**y,
    "max": _plain(np.maximum),
    "min": _plain(np.minimum),
    "clamp": lambda low, x, high, **_: np.clip(x, low, high),
    "gt": _plain(np.greater),
    "lt": _plain(np.less),
    "ge": _plain(np.greater_equal),
    "le": _plain(np.less_equal),
    "eq": _plain(np.equal),
    "ne": _plain(np.not_equal),
    "and": _plain(np.bitwise_and),
    "or": _plain(np.bitwise_or),
    "xor": _plain(np.bitwise_xor),
    "not": _plain(np.invert),
    "select_n": _select,
    "convert_element_type": _convert,
    "reduce_sum": _over(np.sum),
    "reduce_prod": _over(np.prod),
    "reduce_max": _over(np.max),
    "reduce_min": _over(np.min),
    "reduce_and": _over(np.all),
    "reduce_or": _over(np.any),
    "cumsum": _along(np.add),
    "cumprod": _along(np.multiply),
    "cummax": _along(np.maximum),
    "cummin": _along(np.minimum),
}
