"""The domain *expressions*: SymPy expressions, entry by entry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import sympy

from symtheory.domains._arrays import ArrayDomain
from symtheory.domains._entries import Scalar
from symtheory.program import FUNCTIONS


class Expressions(ArrayDomain):
    """Arrays of SymPy expressions, built as the loss is written and never expanded."""

    name = "expressions"

    def scalar(self, value: Fraction) -> sympy.Expr:
        """Return a rational number as a SymPy number."""
        return sympy.Rational(value.numerator, value.denominator)

    def as_rational(self, value: Any) -> Fraction | None:
        """Return the number an expression is, or None."""
        if isinstance(value, sympy.Rational):
            return Fraction(int(value.p), int(value.q))
        return None

    def is_finite(self, value: Any) -> bool:
        """Tell whether an entry is neither infinite nor undefined."""
        return super().is_finite(value) and value not in (sympy.oo, -sympy.oo, sympy.nan)

    def total(self, elements: Iterable[Any]) -> Any:
        """Return a sum."""
        return sympy.Add(*elements)

    def functions(self) -> Mapping[str, Scalar]:
        """Scalar functions by primitive name."""
        return FUNCTIONS_OF_SYMPY


# Conditions are indicators (expressions with the values 0 and 1), so that they can be counted
# and combined like any entry.


def step(x: Any) -> sympy.Expr:
    """Return 1[x > 0]."""
    return sympy.Heaviside(x, 0)  # type: ignore[arg-type]


def _indicator(relation: Any) -> sympy.Expr:
    return sympy.Piecewise((sympy.Integer(1), relation), (sympy.Integer(0), True))


def _truth(relation: Any) -> Any:
    return bool(relation) if relation in (sympy.true, sympy.false) else relation


def _greater(a: Any, b: Any) -> Any:
    relation = _truth(sympy.StrictGreaterThan(a, b))
    return relation if isinstance(relation, bool) else step(a - b)


def _equal(a: Any, b: Any) -> Any:
    relation = True if a == b else _truth(sympy.Eq(a, b))
    return relation if isinstance(relation, bool) else _indicator(relation)


FUNCTIONS_OF_SYMPY: dict[str, Scalar] = {
    name: getattr(sympy, row.sympy) for name, row in FUNCTIONS.items() if row.sympy
} | {
    "sqrt": sympy.sqrt,
    "logistic": lambda x: 1 / (1 + sympy.exp(-x)),
    "trunc": lambda x: sympy.sign(x) * sympy.floor(sympy.Abs(x)),
    "atan2": sympy.atan2,
    "cospi": lambda x: sympy.cos(sympy.pi * x),
    "sinpi": lambda x: sympy.sin(sympy.pi * x),
    "cbrt": lambda x: sympy.real_root(x, 3),
    "root": lambda x, order: x ** sympy.Rational(1, order),
    "exp2": lambda x: 2**x,
    "max": sympy.Max,
    "min": sympy.Min,
    "gt": _greater,
    "eq": _equal,
    "select": lambda condition, no, yes: no + condition * (yes - no),
}  # fmt: skip
"""What a program and the kernels of the ring call by name, in SymPy."""
