"""Is an element constant along a vector field? Decided on its value, not on a program's derivative.

The derivative X f = sum_i X_i df/dg_i is taken in the ring, by the true rules of calculus: a
`stop_gradient`, a custom derivative rule or a step function cannot mislead it. X f = 0 makes f
constant along the flow of X only where f does not jump, so it is also checked that the flow never
crosses a place where f might: for every indicator 1[h > 0] and every denominator h that occurs, the
set h = 0 is invariant (h divides X h), or the jump of f across it vanishes (h divides it). The
other functions that occur must be continuous on all of R or stand still along the flow; log and
reciprocal are continuous where the zeros of their argument are not crossed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from symtheory.domains.ring._element import Element
from symtheory.domains.ring._indicators import INDICATORS, is_positive_everywhere
from symtheory.domains.ring._ring import Kernel, Ring
from symtheory.errors import UnreadableError
from symtheory.program import FUNCTIONS

Field = Mapping[int, Element]
"""Components of a vector field by generator index of the symbol that moves."""


class LieDerivative:
    """The derivative along a vector field, for elements with kernels.

    Args:
        ring: The ring.
        field: The vector field; symbols that are not in it do not move.

    >>> ring = Ring(["x", "y"])
    >>> x, y = ring.symbol("x"), ring.symbol("y")
    >>> along = LieDerivative(ring, {ring.names["x"]: x, ring.names["y"]: -y})
    >>> along(ring.apply("exp", x * y)).is_zero(), along.obstruction(ring.absolute(x) * y)
    (True, None)
    """

    def __init__(self, ring: Ring, field: Field) -> None:
        self._ring = ring
        self._field = dict(field)
        self._kernels: dict[int, Element] = {}

    def __call__(self, element: Element) -> Element:
        """Return X f.

        Raises:
            UnreadableError: A kernel occurs whose derivative the ring does not know.
        """
        ring = self._ring
        numerator, denominator = element.parts()
        top = self._polynomial(numerator)
        if denominator is None:
            return top
        below = Element(ring, denominator)
        return (top - element * self._polynomial(denominator)) * below.inverse()

    def _polynomial(self, poly: Any) -> Element:
        ring = self._ring
        total = ring.constant(0)
        for index, degree in enumerate(poly.degrees()):
            if degree > 0 and not (speed := self._speed(index)).is_zero():
                total = total + Element(ring, poly.derivative(f"g{index}")) * speed
        return total

    def _speed(self, index: int) -> Element:
        """Return X g of a generator."""
        kernel = self._ring.kernels.get(index)
        if kernel is None:
            return self._field.get(index, self._ring.constant(0))
        if index not in self._kernels:
            inner = self(kernel.argument)
            # Where the argument stands still nothing else need be known.
            self._kernels[index] = inner if inner.is_zero() else inner * self._rule(index, kernel)
        return self._kernels[index]

    def _rule(self, index: int, kernel: Kernel) -> Element:
        ring, value, x = self._ring, self._ring.generator(index), kernel.argument
        name = kernel.function
        if name in INDICATORS or (name in FUNCTIONS and FUNCTIONS[name].constant):
            return ring.constant(0)
        if kernel.order and kernel.power is None:
            return value * (x * kernel.order).inverse()
        if name not in _RULES:
            raise UnreadableError(f"the derivative of {name} is not known to the ring")
        return _RULES[name](ring, value, x)

    def obstruction(self, element: Element) -> str | None:
        """Return why X f = 0 may not make f constant along the flow, or None if it does."""
        seen: set[int] = set()
        stack = [element]
        while stack:
            current = stack.pop()
            numerator, denominator = current.parts()
            if denominator is not None and not self._never_crosses(denominator):
                return "the flow may cross a zero of a denominator"
            for poly in (numerator, denominator):
                for index, degree in enumerate(() if poly is None else poly.degrees()):
                    kernel = self._ring.kernels.get(index)
                    if degree > 0 and kernel is not None and index not in seen:
                        seen.add(index)
                        stack.append(kernel.argument)
        inside = {i for k in seen for i in self._signs_of(self._ring.kernels[k].argument)}
        for index in seen:
            kernel = self._ring.kernels[index]
            if kernel.function not in INDICATORS:
                if not self._is_harmless(kernel):
                    return f"the flow may cross a place where {kernel.function} jumps"
                continue
            if self._keeps(kernel.argument.numerator):
                continue
            if index in inside or not self._continuous(element, index, kernel):
                return "the loss may jump where a condition changes along the flow"
        return None

    def _signs_of(self, element: Element) -> list[int]:
        return self._ring.signs_in(element)

    def _is_harmless(self, kernel: Kernel) -> bool:
        """Tell whether a function is continuous along the flow, for a continuous argument."""
        if kernel.function in _CONTINUOUS or kernel.function.startswith("root"):
            return True
        if kernel.function in ("log", "reciprocal"):
            return self._never_crosses(kernel.argument.numerator)
        return self(kernel.argument).is_zero()

    def _never_crosses(self, poly: Any) -> bool:
        """Tell whether the flow keeps off the zeros of a polynomial, or stays on them."""
        poly = self._ring.lift(poly)
        return is_positive_everywhere(self._ring, poly) or self._keeps(poly)

    def _keeps(self, poly: Any) -> bool:
        """Tell whether {h = 0} is invariant: h divides X h."""
        h = Element(self._ring, self._ring.lift(poly))
        return _divides(h, self(h))

    def _continuous(self, element: Element, index: int, kernel: Kernel) -> bool:
        """Tell whether f jumps by nothing across the zeros of an indicator's argument."""
        jump = element.at_sign(index, 1) - element.at_sign(index, 0)
        return kernel.function == "positive" and _divides(
            Element(self._ring, self._ring.lift(kernel.argument.numerator)), jump
        )


def _divides(h: Element, element: Element) -> bool:
    """Tell whether element/h stays finite where the polynomial h vanishes."""
    if element.is_zero():
        return True
    ring = h.ring
    if ring.relations_in(h):
        return False
    return _is_bounded(ring, element * h.inverse(), h.numerator)


def _is_bounded(ring: Ring, x: Element, h: Any) -> bool:
    """Tell whether an element stays finite where h vanishes (but for a set of codimension two)."""
    above, below = x.parts()
    if below is not None and not is_positive_everywhere(ring, below):
        if any(n > 0 and k in ring.kernels for k, n in enumerate(below.degrees())):
            return False
        if not below.gcd(ring.lift(h)).is_constant():
            return False
    for poly in (above, below):
        for index, n in enumerate(() if poly is None else poly.degrees()):
            kernel = ring.kernels.get(index)
            if n <= 0 or kernel is None or kernel.function in INDICATORS:
                continue
            known = kernel.function in _CONTINUOUS or kernel.function.startswith("root")
            if not (known and _is_bounded(ring, kernel.argument, h)):
                return False
    return True


_CONTINUOUS = {"sqrt"} | {name for name, row in FUNCTIONS.items() if row.total and row.continuous}
"""Functions that are continuous on all of R, or on the half line they are defined on."""


Rule = Callable[[Ring, Element, Element], Element]

_RULES: dict[str, Rule] = {
    "exp": lambda ring, k, x: k,
    "log": lambda ring, k, x: x.inverse(),
    "tanh": lambda ring, k, x: 1 - k * k,
    "tan": lambda ring, k, x: 1 + k * k,
    "logistic": lambda ring, k, x: k * (1 - k),
    "sin": lambda ring, k, x: ring.apply("cos", x),
    "cos": lambda ring, k, x: -ring.apply("sin", x),
    "sinh": lambda ring, k, x: ring.apply("cosh", x),
    "cosh": lambda ring, k, x: ring.apply("sinh", x),
    "atan": lambda ring, k, x: (1 + x * x).inverse(),
    "asinh": lambda ring, k, x: ring.apply("sqrt", 1 + x * x).inverse(),
    "reciprocal": lambda ring, k, x: -k * k,
    # 2/sqrt(pi) and log 2 are numbers the ring treats as indeterminates, which is sound.
    "erf": lambda ring, k, x: ring.symbol("2/sqrt(pi)") * ring.apply("exp", -x * x),
    "exp2": lambda ring, k, x: k * ring.apply("log", ring.constant(2)),
}
