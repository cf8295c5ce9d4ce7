"""The value of a ring element at a point, rigorously."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flint import arb

from symtheory.domains._balls import SCALARS
from symtheory.domains.ring._element import Element


def enclose(element: Element, values: Mapping[str, arb]) -> arb:
    """Return a ball that contains a ring element's value.

    Args:
        element: The element.
        values: A ball for each of its symbols, by the ring's name for it.

    Raises:
        UndecidedError: The sign of an activation cannot be told at this precision.

    >>> from symtheory.domains import Ring
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
                known[index] = SCALARS[kernel.function](value(kernel.argument))
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
