"""Enclosures: floats (middles) with rigorous bounds on their errors (radii), in NumPy.

The real number lies within `radius` of `middle`; radius 0 says that it is the float itself, an
infinite radius that nothing is known (it may not exist at all). A middle of +-inf with radius 0 is
an infinite number, such as the fill of a mask.

Bounds hold for IEEE double precision rounding to nearest, whatever the order of sums: products
that underflow, results that overflow and denormal numbers included. Radii are computed in floats
too; `_WIDEN` covers their own relative rounding, `_TINY` what underflows on the way.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from flint import arb

from symtheory.domains._balls import SCALARS, UndecidedError
from symtheory.program import FUNCTIONS

_UNIT = 2.0**-53
_WIDEN = 1 + 2.0**-48
_TINY = 2.0**-1060
"""Larger than what underflows in the few products of one entry: that is below 2^-1070."""
_TINY_QUOTIENT = 2.0**-1000
"""The same where a quotient that underflows is multiplied by a reciprocal: by at most 2^52 then."""
_SPLITTER = 2.0**27 + 1


@dataclasses.dataclass(frozen=True, eq=False)
class Enclosure:
    """Middles and radii, arrays of one shape."""

    middle: np.ndarray
    radius: np.ndarray

    @property
    def exact(self) -> np.ndarray:
        """Where the number is known exactly."""
        return self.radius == 0

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> Enclosure:
        """Move the entries of both."""
        return Enclosure(function(self.middle), function(self.radius))


def exactly(values: np.ndarray) -> Enclosure:
    """Return floats as the numbers they are; NaN is nothing known."""
    return Enclosure(values, np.where(np.isnan(values), np.inf, 0.0))


def nearest(value: Fraction | int) -> tuple[float, float]:
    """Return the float next to a rational number, and a bound on the distance."""
    value = Fraction(value)
    try:
        middle = float(value)
    except OverflowError:
        return 0.0, math.inf
    rest = abs(value - Fraction(middle))
    return middle, float(rest) * 2 + 5e-324 if rest else 0.0


def _settled(middle: np.ndarray, radius: np.ndarray, *operands: Enclosure) -> Enclosure:
    """Return a result; what overflowed, and what is undefined, is nothing known."""
    finite = np.isfinite(middle)
    if not finite.all():
        infinite, known = np.zeros(middle.shape, dtype=bool), np.isinf(middle)
        for x in operands:  # a result is infinite where an operand is
            infinite = infinite | (np.isinf(x.middle) & x.exact)
            known = known & np.isfinite(x.radius)
        radius = np.where(finite, radius, np.where(infinite & known, 0.0, np.inf))
    if np.isnan(radius).any():
        radius = np.where(np.isnan(radius), np.inf, radius)
    return Enclosure(middle, radius)


def add(x: Enclosure, y: Enclosure) -> Enclosure:
    """Return x + y; the rounding error of a sum is itself a float."""
    out = x.middle + y.middle
    back = out - x.middle
    lost = np.abs((x.middle - (out - back)) + (y.middle - back))
    return _settled(out, (x.radius + y.radius + lost) * _WIDEN, x, y)


def negative(x: Enclosure) -> Enclosure:
    """Return -x."""
    return Enclosure(-x.middle, x.radius)


def multiply(x: Enclosure, y: Enclosure, exactly_if_possible: bool = False) -> Enclosure:
    """Return x y.

    Args:
        x: An enclosure.
        y: Another one.
        exactly_if_possible: Whether a product that is a float shall have radius 0.
    """
    out = x.middle * y.middle
    size = np.abs(x.middle) * y.radius + x.radius * (np.abs(y.middle) + y.radius)
    rounding = _UNIT * np.abs(out) + _TINY
    nothing = ((x.middle == 0) & x.exact) | ((y.middle == 0) & y.exact)
    if exactly_if_possible:
        nothing |= x.exact & y.exact & _is_exact_product(x.middle, y.middle, out)
    if nothing.any():
        rounding = np.where(nothing, 0.0, rounding)
    one = np.isinf(out)
    if one.any():  # an infinite number times one whose sign is known
        for a in (x, y):
            out = np.where(one & (np.abs(a.middle) <= a.radius), np.nan, out)
    return _settled(out, (size + rounding) * _WIDEN, x, y)


def _is_exact_product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Tell which products of floats are floats, by Dekker's splitting; far from overflow only."""
    size = np.abs(out)
    safe = (size > 2.0**-900) & (size < 2.0**900)
    safe &= (np.abs(a) < 2.0**900) & (np.abs(b) < 2.0**900)

    def split(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        c = _SPLITTER * x
        high = c - (c - x)
        return high, x - high

    (a1, a0), (b1, b0) = split(np.where(safe, a, 0.0)), split(np.where(safe, b, 0.0))
    lost = ((a1 * b1 - np.where(safe, out, 0.0)) + a1 * b0 + a0 * b1) + a0 * b0
    return safe & (lost == 0)


def scale(x: Enclosure, factor: Fraction, exactly_if_possible: bool = False) -> Enclosure:
    """Return a rational multiple of x."""
    if factor == -1:
        return negative(x)
    middle, radius = nearest(factor)
    constant = Enclosure(np.full((), middle), np.full((), radius))
    return multiply(x, constant, exactly_if_possible)


def reciprocal(x: Enclosure) -> Enclosure:
    """Return 1/x; nothing is known where x may be 0."""
    out = 1.0 / x.middle
    left = np.abs(x.middle) - x.radius
    radius = np.abs(out) * (x.radius / left) + _UNIT * np.abs(out) + _TINY_QUOTIENT
    one = x.exact & (np.abs(x.middle) == 1)
    radius = np.where(one, 0.0, np.where(left > 0, radius * _WIDEN, np.inf))
    radius = np.where(np.isinf(x.middle) & x.exact, 0.0, radius)
    return _settled(out, radius)


def root(x: Enclosure) -> Enclosure:
    """Return the square root; nothing is known where x may be negative."""
    out = np.sqrt(x.middle)
    low = x.middle - x.radius * _WIDEN
    radius = x.radius / np.where(out > 0, out, 1.0) + _UNIT * out
    radius = np.where((out > 0) & (low >= 0), radius * _WIDEN + _TINY, np.inf)
    whole = x.exact & (out < 2.0**26) & (out == np.rint(out)) & (out * out == x.middle)
    infinite = (x.middle == np.inf) & x.exact
    return _settled(out, np.where(whole | infinite, 0.0, radius), x)


def dot(x: Enclosure, y: Enclosure, exactly_if_possible: bool = False) -> Enclosure:
    """Return products of stacks of matrices, x[..., i, k] y[..., j, k] summed over k."""
    inner = x.middle.shape[-1]
    turned = lambda a: np.swapaxes(a, -1, -2)
    out = x.middle @ turned(y.middle)
    size, other = np.abs(x.middle), np.abs(y.middle)
    if exactly_if_possible and _sums_exactly(x, y):
        return _settled(out, np.zeros(out.shape))
    radius = size @ turned(y.radius + (2 * (inner + 2) * _UNIT) * other)
    if x.radius.any():
        radius = radius + x.radius @ turned(other + y.radius)
    return _settled(out, radius * _widened(inner) + inner * _TINY)


def _widened(count: int) -> float:
    """Return a factor that covers the rounding of sums of `count` numbers that are >= 0."""
    return 1 + (2 * count + 64) * _UNIT


def _sums_exactly(x: Enclosure, y: Enclosure) -> bool:
    """Tell whether all sums of products are multiples of one unit and far below 2^53 of them."""
    if not (x.exact.all() and y.exact.all() and np.isfinite(x.middle).all()):
        return False
    if not np.isfinite(y.middle).all():
        return False
    unit = _unit(x.middle) * _unit(y.middle)
    largest = np.max(np.abs(x.middle), initial=0.0) * np.max(np.abs(y.middle), initial=0.0)
    return bool(unit > 2.0**-900 and largest * x.middle.shape[-1] < 2.0**52 * unit)


def _unit(values: np.ndarray) -> float:
    """Return the largest power of two that all entries are multiples of (1 if all are zero)."""
    digits, exponents = np.frexp(values[values != 0])
    if not digits.size:
        return 1.0
    whole = (digits * 2.0**53).astype(np.int64)
    lowest = np.log2((whole & -whole).astype(float)) + exponents - 53
    return float(np.exp2(np.min(lowest)))


def total(x: Enclosure, axes: tuple[int, ...], exactly_if_possible: bool = False) -> Enclosure:
    """Return the sum along axes."""
    count = math.prod(x.middle.shape[k] for k in axes)
    out = np.asarray(np.sum(x.middle, axis=axes))
    if exactly_if_possible and x.exact.all() and np.isfinite(x.middle).all():
        largest, unit = np.max(np.abs(x.middle), initial=0.0), _unit(x.middle)
        if unit > 2.0**-900 and largest * count < 2.0**52 * unit:
            return Enclosure(out, np.zeros(out.shape))
    radius = np.sum(x.radius + (2 * count * _UNIT) * np.abs(x.middle), axis=axes)
    return _settled(out, np.asarray(radius * _widened(count) + count * _TINY))


# --- order -------------------------------------------------------------------------------------


def order(x: Enclosure, y: Enclosure) -> tuple[np.ndarray, np.ndarray]:
    """Return the sign of x - y, and where it is certain.

    A difference of floats has the sign of the exact difference, and is 0 for equal ones only.
    """
    same = x.middle == y.middle
    difference = np.where(same, 0.0, x.middle - y.middle)
    bound = (x.radius + y.radius) * _WIDEN
    certain = (np.abs(difference) * (1 - 2.0**-50) > bound) | (bound == 0)
    return np.sign(difference), certain & ~np.isnan(difference)


def larger(x: Enclosure, y: Enclosure, largest: bool) -> Enclosure:
    """Return the larger or smaller of two numbers whatever their order is."""
    out = (np.maximum if largest else np.minimum)(x.middle, y.middle)
    return _settled(out, np.maximum(x.radius, y.radius), x, y)


# --- functions by Arb's balls, entry by entry --------------------------------------------------


def apply(function: str, *xs: Enclosure) -> Enclosure:
    """Return an elementary function of the table `program.FUNCTIONS`."""
    row = FUNCTIONS.get(function)
    limits = row.limits if row is not None and row.arguments == 1 else (None, None)
    scalar = SCALARS[function]

    def one(*parts: float) -> tuple[float, float]:
        middles, radii = parts[::2], parts[1::2]
        if not all(map(math.isfinite, radii)) or any(map(math.isnan, middles)):
            return 0.0, math.inf
        if any(map(math.isinf, middles)):
            limit = limits[int(middles[0] > 0)]
            return (0.0, math.inf) if limit is None else (float(limit), 0.0)
        try:
            return rounded(scalar(*map(arb, middles, radii)))
        except (UndecidedError, ZeroDivisionError):
            return 0.0, math.inf

    return _entrywise(one, *xs)


def power(x: Enclosure, exponent: Fraction) -> Enclosure:
    """Return x to a rational power that is not whole, as `jnp.power` has it: x must be >= 0."""
    over, under = exponent.numerator, exponent.denominator

    def one(middle: float, radius: float) -> tuple[float, float]:
        if not (math.isfinite(middle) and math.isfinite(radius)):
            return 0.0, math.inf
        base = arb(middle, radius)
        return rounded(base.root(under) ** over) if base >= 0 else (0.0, math.inf)

    return _entrywise(one, x)


def general_power(x: Enclosure, y: Enclosure) -> Enclosure:
    """Return x^y: whole exponents that are known, else positive bases."""

    def one(a: float, e: float, b: float, f: float) -> tuple[float, float]:
        if not all(map(math.isfinite, (a, e, b, f))):
            return 0.0, math.inf
        base = arb(a, e)
        if not f and b == int(b) and abs(b) < 2**30:
            return rounded(base ** int(b)) if b >= 0 or not base.contains(0) else (0.0, math.inf)
        return rounded(base ** arb(b, f)) if base > 0 else (0.0, math.inf)

    return _entrywise(one, x, y)


def rounded(ball: arb) -> tuple[float, float]:
    """Return a ball as the nearest float and a bound on the distance of what it encloses."""
    if not ball.is_finite():
        return 0.0, math.inf
    middle = float(ball.mid())
    if not math.isfinite(middle):
        return 0.0, math.inf
    rest = abs(ball - arb(middle)).upper()
    return (middle, 0.0) if rest == 0 else (middle, float(rest) * _WIDEN + 5e-324)


def _entrywise(function: Callable[..., tuple[float, float]], *xs: Enclosure) -> Enclosure:
    parts = [a.reshape(-1).tolist() for x in xs for a in (x.middle, x.radius)]
    known = functools.lru_cache(maxsize=2**16)(function)
    table = np.array([known(*row) for row in zip(*parts, strict=True)], dtype=float).reshape(-1, 2)
    shape = xs[0].middle.shape
    return Enclosure(table[:, 0].reshape(shape), table[:, 1].reshape(shape))


# --- steps -------------------------------------------------------------------------------------


def step(x: Enclosure, function: Callable[[np.ndarray], np.ndarray]) -> Enclosure:
    """Return a nondecreasing function whose values are whole numbers (floor, ceil, trunc, round).

    It is known where both ends of the enclosure have the same value.
    """
    low = np.nextafter(x.middle - x.radius, -np.inf)
    high = np.nextafter(x.middle + x.radius, np.inf)
    out = function(x.middle)
    certain = x.exact | ((function(low) == out) & (function(high) == out))
    return Enclosure(out, np.where(certain & np.isfinite(out), 0.0, np.inf))
