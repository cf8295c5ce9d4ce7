"""The domain *balls*: rigorous enclosures at a point, in Arb."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import flint
from flint import arb

from symtheory.errors import SymtheoryError
from symtheory.readings._arrays import ArrayDomain, Scalar
from symtheory.readings._ring import as_fmpq


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

    def as_rational(self, value: Any) -> Fraction | None:
        """Return an exact ball with a short mantissa as a rational."""
        if isinstance(value, arb) and value.is_exact():
            exact = value.fmpq()
            return Fraction(int(exact.p), int(exact.q))
        return None

    def functions(self) -> Mapping[str, Scalar]:
        """Scalar functions by primitive name."""

        def greater(a: Any, b: Any) -> bool:
            a, b = arb(a), arb(b)
            if a > b:
                return True
            if a <= b or (a.is_exact() and b.is_exact()):
                return False
            raise UndecidedError("a comparison cannot be decided at this point and precision")

        def equal(a: Any, b: Any) -> bool:
            a, b = arb(a), arb(b)
            if not a.overlaps(b):
                return False
            # Both sides of a tie (as in the derivative of max) are the very same computation.
            if a.mid() == b.mid() and a.rad() == b.rad():
                return True
            raise UndecidedError("an equality cannot be decided at this point and precision")

        return {
            "exp": lambda x: arb(x).exp(),
            "log": lambda x: arb(x).log(),
            "sqrt": lambda x: arb(x).sqrt(),
            "tanh": lambda x: arb(x).tanh(),
            "logistic": lambda x: 1 / (1 + (-arb(x)).exp()),
            "erf": lambda x: arb(x).erf(),
            "erfc": lambda x: arb(x).erfc(),
            "erf_inv": lambda x: arb(x).erfinv(),
            "sin": lambda x: arb(x).sin(),
            "cos": lambda x: arb(x).cos(),
            "tan": lambda x: arb(x).tan(),
            "atan": lambda x: arb(x).atan(),
            "sinh": lambda x: arb(x).sinh(),
            "cosh": lambda x: arb(x).cosh(),
            "asinh": lambda x: arb(x).asinh(),
            "cbrt": lambda x: arb(x).root(3) if arb(x) >= 0 else -(-arb(x)).root(3),
            "exp2": lambda x: (arb(x) * arb(2).log()).exp(),
            "lgamma": lambda x: arb(x).lgamma(),
            "digamma": lambda x: arb(x).digamma(),
            "abs": lambda x: abs(arb(x)),
            "sign": lambda x: arb(1) if greater(x, 0) else (arb(-1) if greater(0, x) else arb(0)),
            "max": lambda a, b: a if greater(a, b) else b,
            "gt": greater,
            "eq": equal,
        }
