"""What each primitive does to homogeneity degrees."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from symtheory.errors import UnreadableError
from symtheory.readings._casts import is_exact_cast
from symtheory.readings._concrete import CONCRETE
from symtheory.readings._interpreter import Rule, unreadable
from symtheory.readings._movement import MOVEMENT, iota, scatter_places
from symtheory.readings._places import first_places, indexed_axes
from symtheory.readings._scaled import LARGEST, NotHomogeneousError, Scaled, lift, scaled


def degree_rules() -> dict[str, Rule]:
    """Return the table primitive -> rule."""
    rules: dict[str, Rule] = {name: _moved(name, rule) for name, rule in MOVEMENT.items()}
    rules |= dict.fromkeys(("add", "add_any", "sub", "max", "min", "clamp"), _on_scaled(_agree))
    rules |= dict.fromkeys(("reduce_sum", "reduce_max", "reduce_min"), _on_scaled(_reduce))
    rules |= dict.fromkeys(("cumsum", "cummax", "cummin"), _on_scaled(_accumulate))
    rules |= dict.fromkeys(("gt", "lt", "ge", "le", "eq", "ne"), _on_scaled(_comparison))
    rules |= dict.fromkeys(_INVARIANT, _on_scaled(_invariant))
    rules |= {
        "iota": lambda *, dtype, **params: _iota(dtype, **params),
        "mul": _on_scaled(_product),
        "div": _on_scaled(_quotient),
        "neg": lambda x, **_: _signed(x, -1),
        "abs": lambda x, **_: _signed(x, 0),
        "sign": lambda x, **_: scaled(np.zeros_like(x.degrees)),
        "square": lambda x, **_: _power(x, Fraction(2)),
        "integer_pow": lambda x, *, y, **_: _power(x, Fraction(y)),
        "sqrt": lambda x, **_: _power(x, Fraction(1, 2)),
        "rsqrt": lambda x, **_: _power(x, Fraction(-1, 2)),
        "cbrt": lambda x, **_: _power(x, Fraction(1, 3)),
        "pow": _on_scaled(_general_power),
        "dot_general": _on_scaled(_dot),
        "reduce_prod": _reduce_product,
        "select_n": _select,
        "convert_element_type": _convert,
        "is_finite": lambda x, **_: _unchanged(x),
        "scatter-add": _scatter_with(_agree),
        "scatter-sub": _scatter_with(_agree),
        "scatter-mul": _scatter_with(_product),
        "scatter_mul": _scatter_with(_product),
    }
    concretely = {name: _refusal(name) for name in CONCRETE} | rules
    return {name: _concretely(name, rule) for name, rule in concretely.items()}


_INVARIANT = (
    "exp", "exp2", "expm1", "log", "log1p", "tanh", "logistic", "erf", "erfc", "erf_inv", "sin",
    "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "lgamma",
    "digamma", "and", "or", "not", "xor", "reduce_and", "reduce_or", "cumprod",
)  # fmt: skip
"""Functions with no degree of their own: what they are applied to must not change at all."""


def _on_scaled(rule: Callable[..., Any]) -> Rule:
    return lambda *xs, **params: rule(*map(lift, xs), **params)


def _refusal(name: str) -> Rule:
    def refuse(*_: Any, **__: Any) -> Any:
        raise unreadable("degrees", name)

    return refuse


def _concretely(name: str, rule: Rule) -> Rule:
    if name not in CONCRETE:
        return rule

    def choose(*xs: Any, **params: Any) -> Any:
        out = None if any(isinstance(x, Scaled) for x in xs) else CONCRETE[name](*xs, **params)
        return rule(*xs, **params) if out is None else np.asarray(out)

    return choose


# --- movement ----------------------------------------------------------------------------------

_DATA = {"gather": 1, "dynamic_slice": 1, "dynamic_update_slice": 2, "scatter": 3}
"""How many of the first arguments are moved; the rest are places (scatter has them second)."""


def _moved(name: str, rule: Rule) -> Rule:
    def apply(*xs: Any, **params: Any) -> Any:
        if not any(isinstance(x, Scaled) for x in xs):
            out = rule(*xs, **params)
            return out if isinstance(out, list) else np.asarray(out)
        places = xs[_DATA.get(name, len(xs)) :] if name != "scatter" else xs[1:2]
        if any(isinstance(x, Scaled) for x in places):
            return _wherever(name, rule, xs, params)
        data = [x if any(x is p for p in places) else lift(x) for x in xs]
        degrees = rule(*(x.degrees if isinstance(x, Scaled) else x for x in data), **params)
        zero = rule(*(x.zero if isinstance(x, Scaled) else x for x in data), **params)
        if isinstance(degrees, list):
            return [scaled(d, z) for d, z in zip(degrees, zero, strict=True)]
        number = data[0].number if name in ("copy", "convert_element_type", "name") else None
        return Scaled(np.asarray(degrees), np.asarray(zero), number)

    return apply


def _wherever(name: str, rule: Rule, xs: Any, params: Any) -> Scaled:
    """Take entries at unknown places, if all they may point at have the same degree."""
    x, places = lift(xs[0]), [lift(place) for place in xs[1:]]
    axes = indexed_axes(name, x.degrees.shape, params)
    if axes is None or not all(place.is_invariant for place in places):
        raise unreadable("degrees", name, "its places depend on parameters or samples")
    chosen = first_places([place.degrees.shape for place in places])
    first = x.degrees
    zero = x.zero
    for axis in axes:
        first = np.take(first, [0], axis)
        zero = np.all(zero, axis=axis, keepdims=True)
    if np.any(x.degrees != first):
        raise NotHomogeneousError("entries of different degree are chosen among")
    zero = np.broadcast_to(zero, x.degrees.shape)
    return scaled(rule(x.degrees, *chosen, **params), rule(zero, *chosen, **params))


def _iota(dtype: Any, **params: Any) -> Any:
    out = iota(dtype=dtype, **params)
    return lift(out) if np.dtype(dtype).kind == "f" else out


def _scatter_with(combine: Callable[[Scaled, Scaled], Scaled]) -> Rule:
    """Combine the updates with what is there, one after the other."""

    def rule(x: Any, indices: Any, updates: Any, **params: Any) -> Scaled:
        x, updates = lift(x), lift(updates)
        if isinstance(indices, Scaled):
            raise unreadable("degrees", "scatter", "its places depend on parameters or samples")
        places = scatter_places(x.degrees, indices, updates.degrees, **params).reshape(-1)
        degrees, zero = x.degrees.reshape(-1).copy(), x.zero.reshape(-1).copy()
        pairs = zip(places, updates.degrees.reshape(-1), updates.zero.reshape(-1), strict=True)
        for place, degree, is_zero in pairs:
            if place >= 0:
                out = combine(scaled(degrees[place], zero[place]), scaled(degree, is_zero))
                degrees[place], zero[place] = out.degrees, out.zero
        return scaled(degrees.reshape(x.degrees.shape), zero.reshape(x.degrees.shape))

    return rule


# --- sums and comparisons ----------------------------------------------------------------------


def _agree(*xs: Scaled, **_: Any) -> Scaled:
    """Return the common degree of several operands of a sum, entry by entry."""
    first, *rest = xs
    degrees, zero = first.degrees, first.zero
    for x in rest:
        if np.any((degrees != x.degrees) & ~zero & ~x.zero):
            raise NotHomogeneousError("terms of different degree are added or compared")
        degrees, zero = np.where(zero, x.degrees, degrees), zero & x.zero
    return scaled(degrees, zero)


def _reduce(x: Scaled, *, axes: Any, **_: Any) -> Scaled:
    axes = tuple(axes)
    big = np.iinfo(np.int64).max
    low = np.min(np.where(x.zero, big, x.degrees), axis=axes, initial=big)
    high = np.max(np.where(x.zero, -big, x.degrees), axis=axes, initial=-big)
    return _between(low, high)


def _between(low: Any, high: Any) -> Scaled:
    """Return the degree where the lowest and the highest of a sum's terms are the same."""
    if np.any(low < high):
        raise NotHomogeneousError("terms of different degree are summed")
    empty = low > high
    return scaled(np.where(empty, 0, low), empty)


def _accumulate(x: Scaled, *, axis: int, reverse: bool, **_: Any) -> Scaled:
    whole = _reduce(x, axes=(axis,))
    degrees = np.broadcast_to(np.expand_dims(whole.degrees, axis), x.degrees.shape)
    flip = (lambda a: np.flip(a, axis)) if reverse else (lambda a: a)
    zero = flip(np.logical_and.accumulate(flip(x.zero), axis=axis))
    return scaled(degrees, zero)


def _unchanged(x: Scaled) -> Scaled:
    return scaled(np.zeros_like(x.degrees))


def _comparison(*xs: Scaled, **_: Any) -> Scaled:
    return _unchanged(_agree(*xs))


def _select(which: Any, *cases: Any, **_: Any) -> Any:
    if not isinstance(which, Scaled):
        data = [lift(case) for case in cases]
        choose = CONCRETE["select_n"]
        return scaled(
            choose(which, *(x.degrees for x in data)), choose(which, *(x.zero for x in data))
        )
    if not which.is_invariant:
        raise NotHomogeneousError("a condition depends on the scale")
    # Which case is taken is not known: an entry is zero for sure only if it is in every case.
    return _agree(*map(lift, cases))


# --- products and functions --------------------------------------------------------------------


def _product(a: Scaled, b: Scaled, **_: Any) -> Scaled:
    zero = a.zero | b.zero
    return scaled(np.where(zero, 0, a.degrees + b.degrees), zero)


def _quotient(a: Scaled, b: Scaled, **_: Any) -> Scaled:
    # What is divided by zero is infinite or undefined, whatever the scale.
    free = a.zero | b.zero
    return scaled(np.where(free, 0, a.degrees - b.degrees), a.zero & ~b.zero)


def _signed(x: Scaled, sign: int) -> Scaled:
    """Return the degrees of -x, or of |x| where the sign is 0."""
    number = None if x.number is None else -x.number if sign < 0 else abs(x.number)
    return Scaled(x.degrees, x.zero, number)


def _convert(x: Any, *, new_dtype: Any, **_: Any) -> Scaled:
    """Return what a cast does: rounding to integers or to half precision keeps no degree."""
    x = lift(x)
    if is_exact_cast(new_dtype):
        return x
    return _unchanged(x) if np.dtype(new_dtype).kind == "b" else _invariant(x)


def _reduce_product(x: Scaled, *, axes: Any, **_: Any) -> Scaled:
    axes = tuple(axes)
    degrees = np.where(x.zero, 0, x.degrees)
    _affordable(np.sum(np.abs(degrees.astype(float)), axis=axes))
    return scaled(np.sum(degrees, axis=axes), np.any(x.zero, axis=axes))


def _affordable(sizes: Any) -> None:
    """Refuse degrees before they are computed in 64 bits and wrap around."""
    if np.any(np.asarray(sizes) > LARGEST):
        raise NotHomogeneousError("a degree is too large to be computed with")


def _power(x: Scaled, exponent: Fraction) -> Scaled:
    degrees = np.where(x.zero, 0, x.degrees)
    _affordable(np.abs(degrees.astype(float)) * float(abs(exponent.numerator)))
    if not np.any(degrees):  # the exponent itself may not fit into 64 bits
        return scaled(degrees, x.zero & (exponent > 0))
    degrees = degrees * exponent.numerator
    if np.any(degrees % exponent.denominator):
        raise UnreadableError("the degrees domain reached its finest fraction of a degree")
    return scaled(degrees // exponent.denominator, x.zero & (exponent > 0))


def _general_power(x: Scaled, y: Scaled, **_: Any) -> Scaled:
    return _invariant(x, y) if y.number is None else _power(x, y.number)


def _invariant(*xs: Scaled, **_: Any) -> Scaled:
    if not all(x.is_invariant for x in xs):
        raise NotHomogeneousError("a function is applied to something that scales")
    return scaled(np.zeros(np.broadcast_shapes(*(x.degrees.shape for x in xs)), dtype=np.int64))


def _dot(a: Scaled, b: Scaled, *, dimension_numbers: Any, **_: Any) -> Scaled:
    """Return the degrees of a product of arrays: a_ik + b_kj must not depend on k."""
    (contract_a, contract_b), (batch_a, batch_b) = dimension_numbers
    free_a = [i for i in range(a.degrees.ndim) if i not in (*contract_a, *batch_a)]
    free_b = [i for i in range(b.degrees.ndim) if i not in (*contract_b, *batch_b)]
    shapes = [
        [x.degrees.shape[i] for i in axes]
        for x, axes in ((a, batch_a), (a, free_a), (b, free_b), (a, contract_a))
    ]
    batch, rows, columns, inner = (int(np.prod(shape, dtype=int)) for shape in shapes)

    def arranged(part: np.ndarray, axes: list[int], size: int) -> np.ndarray:
        return part.transpose(axes).reshape(batch, size, inner)

    left = [arranged(part, [*batch_a, *free_a, *contract_a], rows) for part in (a.degrees, a.zero)]
    right = [
        arranged(part, [*batch_b, *free_b, *contract_b], columns) for part in (b.degrees, b.zero)
    ]
    out = _dense_dot(left[0], right[0]) if not (left[1].any() or right[1].any()) else None
    if out is None:
        out = _masked_dot(left, right)
    shape = [*shapes[0], *shapes[1], *shapes[2]]
    return scaled(out.degrees.reshape(shape), out.zero.reshape(shape))


def _dense_dot(left: np.ndarray, right: np.ndarray) -> Scaled | None:
    """Without zeros: every row of both factors is a constant plus (minus) one same profile."""
    if not (left.size and right.size):
        return None
    profile = left[:, :1] - left[:, :1, :1]
    if np.any(left - left[..., :1] != profile) or np.any(right - right[..., :1] != -profile):
        raise NotHomogeneousError("terms of different degree are summed")
    return scaled(left[:, :, None, 0] + right[:, None, :, 0])


def _masked_dot(left: list[np.ndarray], right: list[np.ndarray]) -> Scaled:
    """With zeros: term by term, in the memory of the result."""
    batch, rows, inner = left[0].shape
    big = np.iinfo(np.int64).max
    low = np.full((batch, rows, right[0].shape[1]), big)
    high = np.full_like(low, -big)
    for k in range(inner):
        terms = left[0][:, :, None, k] + right[0][:, None, :, k]
        free = left[1][:, :, None, k] | right[1][:, None, :, k]
        low = np.minimum(low, np.where(free, big, terms))
        high = np.maximum(high, np.where(free, -big, terms))
    return _between(low, high)
