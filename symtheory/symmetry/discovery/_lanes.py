"""The domain *lanes*: many points at once, residues mod a prime beside rigorous enclosures.

A value holds, for every entry, its residue mod `PRIME` (None as soon as it is not a rational
function of the inputs) and a float with a bound on its error. Residues count; enclosures decide
comparisons, so that a ReLU is read exactly, and carry the losses that have no residues. A
comparison that the bound leaves open, or a division by zero, makes the bound infinite: the
caller drops the points (lanes) where that happens. The lanes are an axis of the arrays
themselves: trace with `jax.vmap` first.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from flint import arb

from symtheory.exact import rational
from symtheory.readings._casts import is_exact_cast, is_rounding_cast, real_constant
from symtheory.readings._concrete import CONCRETE
from symtheory.readings._interpreter import Rule, unreadable
from symtheory.readings._movement import MOVEMENT, iota, scatter_places
from symtheory.symmetry.discovery._modular import PRIME, inverse, product

_UNIT = 2.0**-53
_WIDEN = 1 + 2.0**-48
_TINY = 1e-300
_EXPONENTS = 64


@dataclasses.dataclass(frozen=True)
class Lanes:
    """Residues (or None), floats, and bounds on the floats' errors; arrays of one shape."""

    residues: np.ndarray | None
    values: np.ndarray
    errors: np.ndarray

    def map(self, function: Callable[[np.ndarray], Any]) -> Lanes:
        """Apply a movement of entries to all three."""
        r = None if self.residues is None else function(self.residues)
        return Lanes(r, function(self.values), function(self.errors))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the arrays."""
        return self.values.shape


def lift(x: Any) -> Lanes:
    """Return a concrete array as exact lanes."""
    if isinstance(x, Lanes):
        return x
    x = np.asarray(x)
    return Lanes(x.astype(np.int64) % PRIME, x.astype(float), np.zeros(x.shape))


class LanesDomain:
    """Reads a jaxpr at many points at once."""

    name = "lanes"

    def __init__(self) -> None:
        self._rules = _rules()

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The table primitive -> rule."""
        return self._rules

    def constant(self, value: Any) -> Any:
        """Read a literal or captured array; floats become the rationals they stand for."""
        array = real_constant(self.name, value)
        return array if array.dtype.kind in "biu" else from_floats(array)

    def take(self, value: Any, step: int) -> Any:
        """Return one entry of a value along its first axis."""
        return value.map(lambda a: a[step]) if isinstance(value, Lanes) else value[step]

    def stack(self, values: Sequence[Any]) -> Any:
        """Put values together along a new first axis."""
        return _joined(np.stack, values)


def from_floats(array: np.ndarray) -> Lanes:
    """Return floats as the rationals they stand for."""
    values = array.astype(float)
    if np.all(values == np.rint(values)) and np.all(np.abs(values) < 2.0**53):
        return Lanes(values.astype(np.int64) % PRIME, values, np.zeros(values.shape))
    if not np.all(np.isfinite(values)):
        return Lanes(None, values, np.where(np.isnan(values), np.inf, 0.0))
    unique, back = np.unique(array, return_inverse=True)
    exact = [rational(x) for x in unique]
    residues = [x.numerator * pow(x.denominator, -1, PRIME) % PRIME for x in exact]
    errors = [abs(float(x - Fraction(float(v)))) * 2 for x, v in zip(exact, unique, strict=True)]
    back = back.reshape(array.shape)
    return Lanes(np.array(residues, dtype=np.int64)[back], values, np.array(errors)[back])


def _joined(function: Callable[..., Any], xs: Sequence[Any]) -> Any:
    if not any(isinstance(x, Lanes) for x in xs):
        return function(xs)
    items = [lift(x) for x in xs]
    residues = None
    if all(x.residues is not None for x in items):
        residues = function([x.residues for x in items])
    return Lanes(residues, function([x.values for x in items]), function([x.errors for x in items]))


def _lanes(residues: np.ndarray | None, values: Any, errors: Any) -> Lanes:
    values, errors = np.asarray(values), np.asarray(errors)
    bad = np.isnan(errors) | np.isnan(values)
    if np.any(bad):
        errors = np.where(bad, np.inf, errors)
    return Lanes(residues, values, errors)


def _both(a: Lanes, b: Lanes, function: Callable[..., Any]) -> np.ndarray | None:
    if a.residues is None or b.residues is None:
        return None
    return function(a.residues, b.residues) % PRIME


# --- arithmetic --------------------------------------------------------------------------------


def _add(a: Lanes, b: Lanes) -> Lanes:
    v = a.values + b.values
    back = v - a.values
    lost = np.abs((a.values - (v - back)) + (b.values - back))
    lost = np.where(np.isinf(v), 0.0, lost)
    return _lanes(_both(a, b, np.add), v, (a.errors + b.errors + lost) * _WIDEN)


def _negative(x: Lanes) -> Lanes:
    return Lanes(None if x.residues is None else -x.residues % PRIME, -x.values, x.errors)


def _multiply(a: Lanes, b: Lanes) -> Lanes:
    v = a.values * b.values
    size = np.abs(a.values) * b.errors + np.abs(b.values) * a.errors + a.errors * b.errors
    rounding = np.where(v == 0, 0.0, _UNIT * np.abs(v) + _TINY)
    return _lanes(_both(a, b, np.multiply), v, (size + rounding) * _WIDEN)


def _divide(a: Lanes, b: Lanes) -> Lanes:
    v = a.values / b.values
    left = np.abs(b.values) - b.errors
    e = (a.errors + np.abs(v) * b.errors) / left + _UNIT * np.abs(v) + _TINY
    e = np.where(left > 0, e * _WIDEN, np.inf)
    r = None
    if a.residues is not None and b.residues is not None:
        r = a.residues * inverse(b.residues) % PRIME
        e = np.where(np.broadcast_to(b.residues, e.shape) == 0, np.inf, e)
    return _lanes(r, v, e)


def _power(x: Lanes, n: int) -> Lanes:
    if n < 0:
        return _divide(lift(np.ones(x.shape, dtype=np.int64)), _power(x, -n))
    out = lift(np.ones(x.shape, dtype=np.int64))
    while n:
        if n & 1:
            out = _multiply(out, x)
        n >>= 1
        if n:
            x = _multiply(x, x)
    return out


def _general_power(x: Lanes, y: Lanes) -> Lanes:
    n = np.unique(y.values)
    if len(n) == 1 and n[0] == round(n[0]) and not y.errors.any() and abs(n[0]) <= _EXPONENTS:
        return _power(x, int(n[0]))
    return _by_balls(lambda u, w: u**w)(x, y)


def _summed(x: Lanes, axes: Any) -> Lanes:
    axes = tuple(int(i) for i in axes)
    count = math.prod(x.shape[i] for i in axes)
    e = np.sum(x.errors, axis=axes) + 2 * count * _UNIT * np.sum(np.abs(x.values), axis=axes)
    r = None if x.residues is None else np.sum(x.residues, axis=axes) % PRIME
    return _lanes(r, np.sum(x.values, axis=axes), e * _WIDEN)


def _cumulated(x: Lanes, *, axis: int, reverse: bool, **_: Any) -> Lanes:
    flip = (lambda a: np.flip(a, axis)) if reverse else (lambda a: a)
    run = lambda a: flip(np.cumsum(flip(a), axis=axis))
    e = run(x.errors) + 2 * x.shape[axis] * _UNIT * run(np.abs(x.values))
    r = None if x.residues is None else run(x.residues) % PRIME
    return _lanes(r, run(x.values), e * _WIDEN)


def _dot(a: Any, b: Any, *, dimension_numbers: Any, **_: Any) -> Lanes:
    a, b = lift(a), lift(b)
    (in_a, in_b), (batch_a, batch_b) = dimension_numbers
    in_a, in_b, batch_a, batch_b = (
        tuple(int(i) for i in x) for x in (in_a, in_b, batch_a, batch_b)
    )
    free_a = [i for i in range(len(a.shape)) if i not in (*in_a, *batch_a)]
    free_b = [i for i in range(len(b.shape)) if i not in (*in_b, *batch_b)]
    batch = [a.shape[i] for i in batch_a]
    rows, columns = [a.shape[i] for i in free_a], [b.shape[i] for i in free_b]
    inner = math.prod(a.shape[i] for i in in_a)
    left = a.map(
        lambda x: x.transpose([*batch_a, *free_a, *in_a]).reshape(*batch, math.prod(rows), inner)
    )
    right = b.map(
        lambda x: x.transpose([*batch_b, *in_b, *free_b]).reshape(*batch, inner, math.prod(columns))
    )
    size, other = np.abs(left.values), np.abs(right.values)
    e = size @ right.errors + left.errors @ other + left.errors @ right.errors
    e = (e + 2 * (inner + 2) * _UNIT * (size @ other)) * _WIDEN
    residues = None
    if left.residues is not None and right.residues is not None:
        residues = product(left.residues, right.residues)
    out = _lanes(residues, left.values @ right.values, e)
    return out.map(lambda x: x.reshape(*batch, *rows, *columns))


# --- comparison and choice ---------------------------------------------------------------------


def _compare(test: Callable[[np.ndarray], Any]) -> Callable[..., Lanes]:
    def rule(a: Lanes, b: Lanes) -> Lanes:
        difference = np.where(a.values == b.values, 0.0, a.values - b.values)
        bound = (a.errors + b.errors) * _WIDEN
        known = (np.abs(difference) * (1 - 1e-15) > bound) | (bound == 0)
        answer = test(difference)
        return Lanes(answer.astype(np.int64), answer.astype(float), np.where(known, 0.0, np.inf))

    return rule


_GREATER = _compare(lambda d: d > 0)


def _select(which: Any, *cases: Any) -> Any:
    if not isinstance(which, Lanes):
        if not any(isinstance(case, Lanes) for case in cases):
            return CONCRETE["select_n"](which, *cases)
        return _joined(lambda parts: CONCRETE["select_n"](which, *parts), cases)
    chosen = (which.values > 0.5).astype(np.int64)
    out = _joined(lambda parts: CONCRETE["select_n"](chosen, *parts), [lift(c) for c in cases])
    return Lanes(out.residues, out.values, np.where(which.errors > 0, np.inf, out.errors))


def _larger(a: Lanes, b: Lanes) -> Lanes:
    return _select(*_broadcast(_GREATER(a, b), b, a))


def _smaller(a: Lanes, b: Lanes) -> Lanes:
    return _select(*_broadcast(_GREATER(a, b), a, b))


def _broadcast(*xs: Lanes) -> list[Lanes]:
    shape = np.broadcast_shapes(*(x.shape for x in xs))
    return [x.map(lambda a: np.broadcast_to(a, shape)) for x in xs]


def _absolute(x: Lanes) -> Lanes:
    return _larger(x, _negative(x))


def _sign(x: Lanes) -> Lanes:
    zero = lift(np.zeros(x.shape, dtype=np.int64))
    up, down = _GREATER(x, zero), _GREATER(zero, x)
    return _add(up, _negative(down))


def _fold(rule: Callable[..., Lanes]) -> Rule:
    def reduced(x: Any, *, axes: Any, **_: Any) -> Lanes:
        x = lift(x)
        for axis in sorted((int(i) for i in axes), reverse=True):
            parts = [
                x.map(lambda a, i=i, axis=axis: np.take(a, i, axis)) for i in range(x.shape[axis])
            ]
            out = parts[0]
            for part in parts[1:]:
                out = rule(out, part)
            x = out
        return x

    return reduced


# --- functions, by Arb -------------------------------------------------------------------------


def _by_balls(function: Callable[..., arb]) -> Callable[..., Lanes]:
    def one(*parts: float) -> tuple[float, float]:
        pairs = list(zip(parts[::2], parts[1::2], strict=True))
        if any(math.isnan(v) or not math.isfinite(e) for v, e in pairs):
            return 0.0, math.inf
        out = function(*(arb(v, e) if math.isfinite(v) else arb(str(v)) for v, e in pairs))
        if not out.is_finite():
            return 0.0, math.inf
        mid, rad = float(out.mid()), float(out.rad())
        return mid, rad * _WIDEN + abs(mid) * 2 * _UNIT + _TINY if mid or rad else 0.0

    def rule(*xs: Lanes) -> Lanes:
        xs = tuple(_broadcast(*xs))
        parts = [a.reshape(-1) for x in xs for a in (x.values, x.errors)]
        pairs = [one(*row) for row in zip(*(p.tolist() for p in parts), strict=True)]
        table = np.array(pairs, dtype=float).reshape(-1, 2)
        return Lanes(None, table[:, 0].reshape(xs[0].shape), table[:, 1].reshape(xs[0].shape))

    return rule


def _logistic(x: arb) -> arb:
    return 1 / (1 + (-x).exp())


_FUNCTIONS: dict[str, Callable[..., arb]] = {
    name: getattr(arb, name)
    for name in (
        "exp", "log", "sqrt", "rsqrt", "expm1", "log1p", "tanh", "erf", "erfc", "sin", "cos",
        "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "lgamma",
        "digamma",
    )
} | {
    "logistic": _logistic,
    "exp2": lambda x: arb(2) ** x,
    "cbrt": lambda x: x.root(3) if x > 0 else -((-x).root(3)),
}  # fmt: skip


# --- the table ---------------------------------------------------------------------------------

_MOVED: dict[str, tuple[int, ...]] = {
    "gather": (0,), "dynamic_slice": (0,), "scatter": (0, 2), "dynamic_update_slice": (0, 1),
}  # fmt: skip
"""Which arguments hold entries, where others are places."""


def _moved(name: str, rule: Rule) -> Rule:
    def moved(*xs: Any, **params: Any) -> Any:
        if not any(isinstance(x, Lanes) for x in xs):
            return rule(*xs, **params)
        holding = _MOVED.get(name, tuple(range(len(xs))))
        items = {i: lift(xs[i]) for i in holding}

        def apply(field: str) -> Any:
            parts = [getattr(items[i], field) if i in items else x for i, x in enumerate(xs)]
            return rule(*parts, **params)

        values, errors = apply("values"), apply("errors")
        known = all(item.residues is not None for item in items.values())
        residues = apply("residues") if known else None
        if isinstance(values, list):
            parts = residues if residues is not None else [None] * len(values)
            return [Lanes(*part) for part in zip(parts, values, errors, strict=True)]
        return Lanes(residues, values, errors)

    return moved


def _scatter_add(x: Any, indices: Any, updates: Any, **params: Any) -> Lanes:
    x, updates = lift(x), lift(updates)
    places = scatter_places(x.values, indices, updates.values, **params).reshape(-1)
    kept = places >= 0
    sums = [np.array(x.values), np.array(x.errors), np.abs(x.values)]
    parts = [updates.values, updates.errors, np.abs(updates.values)]
    for target, part in zip(sums, parts, strict=True):
        np.add.at(target.reshape(-1), places[kept], part.reshape(-1)[kept])
    residues = None
    if x.residues is not None and updates.residues is not None:
        residues = np.array(x.residues)
        np.add.at(residues.reshape(-1), places[kept], updates.residues.reshape(-1)[kept])
        residues %= PRIME
    count = max(len(places), 1)
    return _lanes(residues, sums[0], (sums[1] + 2 * count * _UNIT * sums[2]) * _WIDEN)


def _convert(x: Any, *, new_dtype: Any, **_: Any) -> Any:
    x = lift(x)
    if is_exact_cast(new_dtype):
        return x
    if is_rounding_cast(new_dtype) or np.any(x.errors) or np.any(x.values != np.rint(x.values)):
        raise unreadable("lanes", "convert_element_type", "it rounds")
    return x.values.astype(new_dtype)


def _on_lanes(rule: Callable[..., Any]) -> Rule:
    return lambda *xs, **_: rule(*map(lift, xs))


def _rules() -> dict[str, Rule]:
    negate = lambda x: _add(lift(np.ones(x.shape, dtype=np.int64)), _negative(x))
    either = lambda a, b: negate(_multiply(negate(a), negate(b)))
    plain: dict[str, Callable[..., Any]] = {
        "add": _add, "add_any": _add, "sub": lambda a, b: _add(a, _negative(b)),
        "mul": _multiply, "div": _divide, "neg": _negative, "abs": _absolute, "sign": _sign,
        "square": lambda x: _multiply(x, x),
        "pow": _general_power, "max": _larger,
        "min": _smaller, "clamp": lambda low, x, high: _smaller(_larger(x, low), high),
        "gt": _GREATER, "lt": lambda a, b: _GREATER(b, a),
        "ge": _compare(lambda d: d >= 0), "le": _compare(lambda d: d <= 0),
        "eq": _compare(lambda d: d == 0), "ne": _compare(lambda d: d != 0),
        "and": _multiply, "or": either, "not": negate,
        "is_finite": lambda x: lift(np.isfinite(x.values)),
        **{name: _by_balls(function) for name, function in _FUNCTIONS.items()},
    }  # fmt: skip
    rules: dict[str, Rule] = {name: _moved(name, rule) for name, rule in MOVEMENT.items()}
    rules |= {name: _on_lanes(rule) for name, rule in plain.items()}
    rules |= {
        "integer_pow": lambda x, *, y, **_: _power(lift(x), y),
        "reduce_sum": lambda x, *, axes, **_: _summed(lift(x), axes),
        "reduce_prod": _fold(_multiply),
        "reduce_max": _fold(_larger),
        "reduce_min": _fold(_smaller),
        "reduce_and": _fold(_multiply),
        "reduce_or": _fold(either),
        "cumsum": lambda x, **params: _cumulated(lift(x), **params),
        "dot_general": _dot,
        "select_n": lambda which, *cases, **_: _select(which, *cases),
        "convert_element_type": _convert,
        "scatter-add": _scatter_add,
        "iota": lambda *, dtype, **params: (
            lift(iota(dtype=dtype, **params))
            if np.dtype(dtype).kind == "f"
            else iota(dtype=dtype, **params)
        ),
    }
    return {
        name: _concretely(CONCRETE.get(name), rules.get(name), name)
        for name in {**CONCRETE, **rules}
    }


def _concretely(concrete: Rule | None, rule: Rule | None, name: str) -> Rule:
    """Compute with integers and booleans that no parameter touches; read everything else."""

    def chosen(*xs: Any, **params: Any) -> Any:
        if concrete is not None and not any(isinstance(x, Lanes) for x in xs) and xs:
            out = concrete(*xs, **params)
            if out is not None:
                return out
        if rule is None:
            raise unreadable("lanes", name)
        with np.errstate(all="ignore"):
            return rule(*xs, **params)

    return chosen
