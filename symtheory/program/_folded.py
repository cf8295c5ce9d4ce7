"""Core operations on known floats: what can be computed at once without an error.

A float stands for the rational that its author meant (`exact.rational`). Signs, roundings to
integers and the order of floats are those of the rationals. Sums, products and powers are computed
with the rationals, and kept where the float next to the result stands for it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from symtheory.exact import rational, rational_array
from symtheory.program._types import kind_of_type

_FEW = 64
"""Entries up to which sums and products are computed with fractions."""

_FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "abs": np.abs, "sign": np.sign, "floor": np.floor, "ceil": np.ceil, "round": np.rint,
    "trunc": np.trunc, "is_finite": np.isfinite,
}  # fmt: skip


def folded(name: str, xs: Sequence[np.ndarray], params: dict[str, Any]) -> np.ndarray | None:
    """Return what an operation makes of known floats, None where it is left to the domains.

    >>> folded("scale", (np.array([0.5, 0.1]),), {"factor": Fraction(-1, 2)})
    array([-0.25, -0.05])
    >>> folded("power", (np.array(2.0),), {"exponent": Fraction(1, 2)}) is None
    True
    """
    if name == "apply" and params["function"] in _FUNCTIONS and len(xs) == 1:
        return np.asarray(_FUNCTIONS[params["function"]](xs[0]))
    if name == "extremum" and xs[0].dtype == xs[1].dtype:
        return np.asarray((np.maximum if params["largest"] else np.minimum)(*xs))
    if name == "cast":
        return _rounded(xs[0], params["kind"])
    compute = _arithmetic(name, params)
    if compute is None or any(x.size > _FEW or not np.isfinite(x).all() for x in xs):
        return None
    try:
        exact = np.asarray(compute(*map(rational_array, xs)), dtype=object)
        out = exact.astype(np.float64)
    except (ZeroDivisionError, OverflowError):
        return None
    pairs = zip(out.flat, exact.flat, strict=True)
    return out if all(np.isfinite(f) and rational(f) == q for f, q in pairs) else None


def _rounded(x: np.ndarray, kind: str) -> np.ndarray | None:
    """Return numbers that a coarse type holds exactly, None where something would be rounded."""
    if kind == "integer" and np.all(np.abs(x) < 2.0**31):
        return np.trunc(x).astype(np.int64)
    if kind in ("real", "integer", "reduce_precision") or kind_of_type(kind) != "f":
        return None
    with np.errstate(over="ignore"):
        same = np.array_equal(x.astype(np.dtype(kind)).astype(x.dtype), x, equal_nan=True)
    return x.astype(np.float64) if same else None


def _arithmetic(name: str, params: dict[str, Any]) -> Callable[..., Any] | None:
    if name in ("add", "mul"):
        return getattr(operator, name)
    if name == "scale":
        return lambda x: x * params["factor"]
    if name == "power":
        exponent = Fraction(params["exponent"])
        if exponent.denominator == 1 and abs(exponent) < _FEW:
            return lambda x: x ** int(exponent)
    return None
