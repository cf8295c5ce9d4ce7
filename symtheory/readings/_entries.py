"""The domain *entries*: SymPy expressions, entry by entry."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import sympy

from symtheory.readings._arrays import ArrayDomain, Scalar


class Entries(ArrayDomain):
    """Arrays of SymPy expressions, built as the loss is written and never expanded."""

    name = "entries"

    def scalar(self, value: Fraction) -> sympy.Expr:
        """Return a rational number as a SymPy number."""
        return sympy.Rational(value.numerator, value.denominator)

    def as_rational(self, value: Any) -> Fraction | None:
        """Return the number an expression is, or None."""
        if isinstance(value, sympy.Rational):
            return Fraction(int(value.p), int(value.q))
        return None

    # Conditions are indicators (expressions with the values 0 and 1), so that they can be counted
    # and combined like any entry.
    def functions(self) -> Mapping[str, Scalar]:
        """Scalar functions by primitive name."""

        def truth(relation: Any) -> Any:
            return bool(relation) if relation in (sympy.true, sympy.false) else relation

        def select(condition: Any, no: Any, yes: Any) -> sympy.Expr:
            return no + condition * (yes - no)

        def greater(a: Any, b: Any) -> Any:
            relation = truth(sympy.StrictGreaterThan(a, b))
            if isinstance(relation, bool):
                return relation
            return sympy.Heaviside(a - b, 0)

        def equal(a: Any, b: Any) -> Any:
            relation = True if a == b else truth(sympy.Eq(a, b))
            return relation if isinstance(relation, bool) else _indicator(relation)

        return {
            "exp": sympy.exp,
            "log": sympy.log,
            "sqrt": sympy.sqrt,
            "tanh": sympy.tanh,
            "logistic": lambda x: 1 / (1 + sympy.exp(-x)),
            "erf": sympy.erf,
            "erfc": sympy.erfc,
            "erf_inv": sympy.erfinv,
            "sin": sympy.sin,
            "cos": sympy.cos,
            "tan": sympy.tan,
            "atan": sympy.atan,
            "sinh": sympy.sinh,
            "cosh": sympy.cosh,
            "asinh": sympy.asinh,
            "cbrt": sympy.real_root,
            "exp2": lambda x: 2**x,
            "lgamma": sympy.loggamma,
            "digamma": sympy.digamma,
            "abs": sympy.Abs,
            "sign": sympy.sign,
            "max": sympy.Max,
            "gt": greater,
            "eq": equal,
            "select": select,
        }


def _indicator(relation: Any) -> sympy.Expr:
    return sympy.Piecewise((sympy.Integer(1), relation), (sympy.Integer(0), True))
