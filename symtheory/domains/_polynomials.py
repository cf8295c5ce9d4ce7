"""The domain *polynomials*: arrays of elements of the exact ring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from symtheory.domains._arrays import ArrayDomain
from symtheory.domains._entries import Scalar
from symtheory.domains._rationals import as_fraction
from symtheory.domains.ring._element import Element, is_partial, level, total
from symtheory.domains.ring._indicators import manifest_sign
from symtheory.domains.ring._ring import Ring
from symtheory.errors import UnreadableError
from symtheory.program import FUNCTIONS

_KERNELS = ("sqrt", *(
    name for name, row in FUNCTIONS.items()
    if row.arguments == 1 and row.kind == "real" and name not in ("abs", "sign")
))  # fmt: skip


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
            return lambda x: self._apply(name, x)

        def sign(x: Element) -> Element:
            return self._number(ring.positive(x)) - self._number(ring.positive(-x))

        def larger(a: Element, b: Element) -> Element:
            out = self._choose(ring.positive(a - b), b, a)
            return out.marked(is_partial(a) or is_partial(b), max(level(a), level(b)))

        return {name: kernel(name) for name in _KERNELS} | {
            "abs": lambda x: ring.absolute(x).marked(x.partial, max(1, level(x))),
            "sign": lambda x: sign(x).marked(x.partial),
            "root": self._root,
            "max": larger,
            "min": lambda a, b: self._choose(ring.positive(a - b), a, b).marked(
                is_partial(a) or is_partial(b), min(level(a), level(b))
            ),
            "gt": lambda a, b: ring.positive(a - b),
            "eq": lambda a, b: ring.vanishes(a - b),
            "select": self._choose,
        }

    def check_defined(self, *values: Any) -> None:
        """Refuse to compare a value that may be NaN, where JAX takes the branch for False.

        Raises:
            UnreadableError: A value was computed by way of something that may be undefined.
        """
        if any(map(is_partial, values)):
            raise UnreadableError(
                "the polynomials domain cannot read a comparison with a value that may be "
                "undefined (a root, logarithm or quotient of something that may have any sign or "
                "vanish); guard its argument, as in jnp.sqrt(x**2 + 1)"
            )

    def _apply(self, name: str, x: Element) -> Element:
        out = self.ring.apply(name, x)
        if name == "sqrt":
            return self._marked_root(out, x)
        row = FUNCTIONS[name]
        total = row.total or (
            name == "log" and self._is_nonnegative(x) and self.ring.is_rarely_zero(x)
        )
        return out.marked(x.partial or not total, 2 if row.positive else 0)

    def _root(self, x: Element, order: int) -> Element:
        """Return x^(1/order) as `pow` has it: undefined for negative x, whatever the order."""
        return self._marked_root(self.ring.root(x, order), x)

    def _marked_root(self, out: Element, x: Element) -> Element:
        known = self._is_nonnegative(x)
        if known:
            for index in set(self.ring.roots_in(out)) - set(self.ring.roots_in(x)):
                self.ring.mark_total(index)
        return out.marked(x.partial or not known, max(1, level(x)))

    def _is_nonnegative(self, x: Element) -> bool:
        if level(x):
            return True
        sign = 1
        for poly in x.parts():
            if poly is not None:
                sign *= manifest_sign(self.ring, poly, strictly=False) or 0
        return sign > 0 or x.is_zero()

    def _number(self, condition: Any) -> Element:
        return self.ring.constant(int(condition)) if isinstance(condition, bool) else condition

    def _choose(self, condition: Any, no: Element, yes: Element) -> Element:
        if isinstance(condition, bool):
            return yes if condition else no
        return no + condition * (yes - no)
