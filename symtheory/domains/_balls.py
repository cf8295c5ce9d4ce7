"""The domain *balls*: rigorous enclosures at a point, in Arb."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import flint
from flint import arb

from symtheory.domains._arrays import ArrayDomain
from symtheory.domains._entries import Scalar
from symtheory.domains._rationals import as_fmpq, as_fraction
from symtheory.errors import SymtheoryError
from symtheory.program import FUNCTIONS


class UndecidedError(SymtheoryError):
    """A comparison of two overlapping balls; raise the precision or take another point."""


@contextmanager
def precision(bits: int) -> Iterator[None]:
    """Work with the given number of bits inside the block."""
    before = flint.ctx.prec
    flint.ctx.prec = bits
    try:
        yield
    finally:
        flint.ctx.prec = before


def ball(value: Fraction | int) -> arb:
    """Return the ball of a rational number."""
    return arb(as_fmpq(value))


class Balls(ArrayDomain):
    """Arrays of Arb balls: every value is enclosed together with its rounding errors."""

    name = "balls"

    def scalar(self, value: Fraction) -> arb:
        """Return the enclosure of a rational number."""
        return ball(value)

    def infinite(self, value: float) -> arb:
        """Return Arb's own infinity or NaN."""
        return arb(value)

    def is_finite(self, value: Any) -> bool:
        """Tell whether a ball is bounded."""
        return bool(arb(value).is_finite())

    def as_rational(self, value: Any) -> Fraction | None:
        """Return an exact ball as a rational."""
        if isinstance(value, arb) and value.is_finite() and value.is_exact():
            return as_fraction(value.fmpq())
        return None

    def total(self, elements: Iterable[Any]) -> Any:
        """Return a sum."""
        return sum(elements, arb(0))

    def functions(self) -> Mapping[str, Scalar]:
        """Scalar functions by primitive name."""
        return SCALARS


def _greater(a: Any, b: Any) -> bool:
    if a is b and arb(a).is_finite():
        return False
    a, b = arb(a), arb(b)
    if a > b:
        return True
    if a <= b:
        return False
    raise UndecidedError(_UNDECIDED)


def _equal(a: Any, b: Any) -> bool:
    # In a tie of max and its operand (as in the derivative of max) both are the same object.
    if a is b and arb(a).is_finite():
        return True
    a, b = arb(a), arb(b)
    if a.is_nan() or b.is_nan():  # Arb's NaN may be an undefined or a very imprecise value
        raise UndecidedError(_UNDECIDED)
    if not a.overlaps(b):
        return False
    if a.is_exact() and b.is_exact():
        return True
    raise UndecidedError(_UNDECIDED)


_UNDECIDED = (
    "a comparison cannot be decided at this point and precision; raise the precision or take "
    "another point"
)


def _call(x: Any, method: str) -> arb:
    return getattr(arb(x), method)()


def _root(x: Any, order: int) -> arb:
    """Return x^(1/order) as `pow` has it: NaN for negative x, whatever the order."""
    return arb(x).root(order)


def _cbrt(x: Any) -> arb:
    x = arb(x)
    return -(-x).root(3) if x < 0 else x.root(3)


def _sign(x: Any) -> arb:
    return arb(1) if _greater(x, 0) else arb(-1) if _greater(0, x) else arb(0)


def _piece(x: arb, value: arb) -> arb:
    """Return a value of a piecewise constant function, if the ball lies on one piece."""
    if not value.is_exact():
        raise UndecidedError(_UNDECIDED)
    return value


def _rounded(x: arb) -> arb:
    """Round to the nearest integer, halves to the even one, as `jnp.round` does."""
    down = _piece(x, x.floor())
    rest = x - down
    if _equal(rest, arb(1) / 2):
        return down if int(down.fmpq().p) % 2 == 0 else down + 1
    return down + int(_greater(rest, arb(1) / 2))


def _atan2(y: arb, x: arb) -> arb:
    out = arb.atan2(y, x)
    if not out.is_finite() or (x <= 0 and y.contains(0) and not y.is_exact()):
        raise UndecidedError(_UNDECIDED)
    return out


def _select(condition: bool, no: Any, yes: Any) -> Any:
    return yes if condition else no


SCALARS: dict[str, Scalar] = {
    name: functools.partial(_call, method=method)
    for name, method in [(name, row.arb) for name, row in FUNCTIONS.items() if row.arb]
    + [(name, name) for name in ("sqrt", "rsqrt", "expm1", "log1p")]
} | {
    "logistic": lambda x: 1 / (1 + (-arb(x)).exp()),
    "floor": lambda x: _piece(arb(x), arb(x).floor()),
    "ceil": lambda x: _piece(arb(x), arb(x).ceil()),
    "trunc": lambda x: _sign(x) * SCALARS["floor"](abs(arb(x))),
    "round": lambda x: _rounded(arb(x)),
    "cospi": lambda x: arb(x).cos_pi(),
    "sinpi": lambda x: arb(x).sin_pi(),
    "atan2": lambda y, x: _atan2(arb(y), arb(x)),
    "cbrt": _cbrt,
    "exp2": lambda x: (arb(x) * arb(2).log()).exp(),
    "abs": lambda x: abs(arb(x)),
    "sign": _sign,
    "max": lambda a, b: a if _greater(a, b) else b,
    "min": lambda a, b: b if _greater(a, b) else a,
    "gt": _greater,
    "eq": _equal,
    "select": _select,
    # What ring kernels are called that are no primitives of JAX.
    "reciprocal": lambda x: 1 / arb(x),
    "positive": lambda x: arb(int(_greater(x, 0))),
    "vanishing": lambda x: arb(int(_equal(x, arb(0)))),
    "root": _root,
} | {f"root{n}": functools.partial(_root, order=n) for n in range(4, 13)}  # fmt: skip
