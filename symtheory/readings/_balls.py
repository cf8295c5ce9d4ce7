"""The domain *balls*: rigorous enclosures at a point, in Arb."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import flint
from flint import arb

from symtheory.errors import SymtheoryError
from symtheory.readings._arrays import ArrayDomain, Scalar
from symtheory.readings._rationals import as_fmpq, as_fraction

if TYPE_CHECKING:
    from symtheory.readings._element import Element


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

    def functions(self) -> Mapping[str, Scalar]:
        """Scalar functions by primitive name."""
        return _FUNCTIONS


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


def _select(condition: bool, no: Any, yes: Any) -> Any:
    return yes if condition else no


_FUNCTIONS: dict[str, Scalar] = {
    name: functools.partial(_call, method=method)
    for name, method in {
        "exp": "exp", "log": "log", "sqrt": "sqrt", "rsqrt": "rsqrt", "expm1": "expm1",
        "log1p": "log1p", "tanh": "tanh", "erf": "erf", "erfc": "erfc", "erf_inv": "erfinv",
        "sin": "sin", "cos": "cos", "tan": "tan", "asin": "asin", "acos": "acos", "atan": "atan",
        "sinh": "sinh", "cosh": "cosh", "asinh": "asinh", "acosh": "acosh", "atanh": "atanh",
        "lgamma": "lgamma", "digamma": "digamma",
    }.items()
} | {
    "logistic": lambda x: 1 / (1 + (-arb(x)).exp()),
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


def enclose(element: Element, values: Mapping[str, arb]) -> arb:
    """Return a ball that contains a ring element's value.

    Args:
        element: The element.
        values: A ball for each of its symbols, by the ring's name for it.

    Raises:
        UndecidedError: The sign of an activation cannot be told at this precision.

    >>> from symtheory.readings import Ring
    >>> ring = Ring(["x", "y"])
    >>> x, y = ring.symbol("x"), ring.symbol("y")
    >>> enclose(ring.apply("sqrt", x * x + y * y), {"x": arb(3), "y": arb(4)})
    5.00000000000000
    """
    ring = element.ring
    names = {index: text for text, index in ring.names.items()}
    known: dict[int, arb] = {}

    def generator(index: int) -> arb:
        if index not in known:
            kernel = ring.kernels.get(index)
            if kernel is None:
                known[index] = values[names[index]]
            else:
                known[index] = _FUNCTIONS[kernel.function](value(kernel.argument))
        return known[index]

    def polynomial(poly: Any) -> arb:
        total = arb(0)
        for exponents, coefficient in poly.to_dict().items():
            term = arb(coefficient)
            for index, n in enumerate(exponents):
                if n:
                    term = term * generator(index) ** int(n)
            total = total + term
        return total

    def value(x: Element) -> arb:
        above = polynomial(x.numerator)
        return above if x.denominator is None else above / polynomial(x.denominator)

    return value(element)
