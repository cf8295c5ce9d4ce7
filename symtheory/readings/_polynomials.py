"""The domain *polynomials*: arrays of elements of the exact ring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from symtheory.readings._arrays import ArrayDomain, Scalar
from symtheory.readings._element import Element, total
from symtheory.readings._rationals import as_fraction
from symtheory.readings._ring import Ring

_FUNCTIONS = (
    "exp", "log", "sqrt", "tanh", "logistic", "erf", "erfc", "erf_inv", "sin", "cos", "tan",
    "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "cbrt", "exp2", "lgamma",
    "digamma",
)  # fmt: skip


class Polynomials(ArrayDomain):
    """Arrays over Q(symbols)[kernels]: proofs of identities, Gaussian moments.

    Args:
        ring: The ring that holds the symbols.
    """

    name = "polynomials"

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        super().__init__()

    def scalar(self, value: Fraction) -> Element:
        """Return a rational number as a ring element."""
        return self.ring.constant(value)

    def as_rational(self, value: Any) -> Fraction | None:
        """Return the number an element is, or None."""
        number = value.as_fmpq() if isinstance(value, Element) else None
        return None if number is None else as_fraction(number)

    def total(self, elements: Iterable[Any]) -> Any:
        """Return a sum; terms over one denominator are added first."""
        elements = list(elements)
        if all(isinstance(x, Element) for x in elements):
            return total(self.ring, elements)
        return super().total(elements)

    def functions(self) -> Mapping[str, Scalar]:
        """Scalar functions; everything transcendental becomes a kernel."""
        ring = self.ring

        def kernel(name: str) -> Scalar:
            return lambda x: ring.apply(name, x)

        def sign(x: Element) -> Element:
            return self._number(ring.positive(x)) - self._number(ring.positive(-x))

        return {name: kernel(name) for name in _FUNCTIONS} | {
            "abs": ring.absolute,
            "sign": sign,
            "root": ring.root,
            "max": lambda a, b: self._choose(ring.positive(a - b), b, a),
            "min": lambda a, b: self._choose(ring.positive(a - b), a, b),
            "gt": lambda a, b: ring.positive(a - b),
            "eq": lambda a, b: ring.vanishes(a - b),
            "select": self._choose,
        }

    def _number(self, condition: Any) -> Element:
        return self.ring.constant(int(condition)) if isinstance(condition, bool) else condition

    def _choose(self, condition: Any, no: Element, yes: Element) -> Element:
        if isinstance(condition, bool):
            return yes if condition else no
        return no + condition * (yes - no)
