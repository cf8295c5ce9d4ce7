"""The domain *polynomials*: arrays of elements of the exact ring."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from symtheory.readings._arrays import ArrayDomain, Scalar
from symtheory.readings._ring import Element, Ring

_FUNCTIONS = (
    "exp", "log", "tanh", "logistic", "erf", "erfc", "erf_inv", "sin", "cos", "tan", "atan",
    "sinh", "cosh", "asinh", "cbrt", "exp2", "lgamma", "digamma",
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
        return None if number is None else Fraction(int(number.p), int(number.q))

    def functions(self) -> Mapping[str, Scalar]:
        """Scalar functions; everything transcendental becomes a kernel."""
        ring = self.ring

        def maximum(a: Element, b: Element) -> Element:
            return self._choose(ring.positive(a - b), b, a)

        def kernel(name: str) -> Scalar:
            return lambda x: ring.apply(name, ring.coerce(x))

        def sign(x: Element) -> Any:
            if x.is_zero():
                return x
            positive = ring.positive(x)
            return ring.constant(1 if positive else -1) if _plain(positive) else 2 * positive - 1

        return {name: kernel(name) for name in (*_FUNCTIONS, "sqrt")} | {
            "abs": ring.absolute,
            "sign": sign,
            "max": maximum,
            "gt": lambda a, b: ring.positive(a - b),
            "eq": lambda a, b: self._vanishes(a - b),
            "select": self._choose,
        }

    def _choose(self, condition: Any, no: Element, yes: Element) -> Element:
        if _plain(condition):
            return yes if condition else no
        return no + condition * (yes - no)

    def _vanishes(self, x: Element) -> Any:
        """Return the indicator of x = 0 up to null sets, pattern by pattern."""
        if x.is_zero():
            return True
        index = next((i for i in self.ring._signs if x.involves(i)), None)
        if index is None:
            return False
        s = self.ring.generator(index)
        on = self._vanishes(x.at_sign(index, 1))
        off = self._vanishes(x.at_sign(index, 0))
        if _plain(on) and _plain(off) and on == off:
            return on
        number = self.ring.constant
        on = number(int(on)) if _plain(on) else on
        off = number(int(off)) if _plain(off) else off
        return s * on + (1 - s) * off


def _plain(value: Any) -> bool:
    return isinstance(value, bool)
