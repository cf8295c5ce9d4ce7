"""Roots of ring elements, and division by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flint import fmpq, fmpz

from symtheory.domains.ring._element import Element
from symtheory.domains.ring._indicators import absolute, manifest_sign
from symtheory.errors import UnreadableError

if TYPE_CHECKING:
    from symtheory.domains.ring._ring import Ring

_FACTOR_LIMIT = 300  # radicands with at most so many terms are freed of square factors


def root(ring: Ring, x: Element, order: int) -> Element:
    """Return x^(1/order), freed of powers that divide x."""
    number = x.as_fmpq()
    if number is not None and number < 0 and order % 2 == 0:
        raise UnreadableError(f"the square root of {number} is not a real number")
    if x.is_zero():
        return x
    numerator, denominator = x.parts()
    lead = numerator.leading_coefficient()
    scale = lead if lead > 0 else -lead
    outside, inside = _root_of_number(ring, scale, order), ring.constant(1)
    for poly, sign in ((numerator / scale, 1), (denominator, -1)):
        if poly is not None:
            out, rest = _power_factors(ring, poly, order)
            out = absolute(ring, out) if order % 2 == 0 else out
            outside = outside * out if sign > 0 else outside / out
            inside = inside * rest if sign > 0 else inside / rest
    below = inside.parts()[1]
    if below is not None and manifest_sign(ring, below, strictly=False) == 1:
        factor = Element(ring, below)  # (n/d)^(1/q) = (n d^(q-1))^(1/q) / d
        inside, outside = inside * factor**order, outside / factor
    if inside.as_fmpq() == 1:
        return outside
    return outside * ring.kernel(_root_name(order), inside, order, inside)


def _root_name(order: int) -> str:
    return {2: "sqrt", 3: "cbrt"}.get(order, f"root{order}")


def _power_factors(ring: Ring, poly: Any, order: int) -> tuple[Element, Element]:
    """Return (a, b) with poly = a^order b."""
    out, rest = poly.context().constant(1), poly
    if 0 < len(poly) <= _FACTOR_LIMIT and not poly.is_constant():
        constant, factors = poly.factor_squarefree()
        rest = poly.context().constant(constant)
        for factor, n in factors:
            out = out * factor ** (int(n) // order)
            rest = rest * factor ** (int(n) % order)
    lead = out.leading_coefficient()
    return Element(ring, out / lead), Element(ring, rest * lead**order)


def _root_of_number(ring: Ring, number: fmpq, order: int) -> Element:
    """Return the root of a positive rational by roots of primes."""
    if number == 1:
        return ring.constant(1)
    whole = fmpz(number.p) * fmpz(number.q) ** (order - 1)
    outside, kernels = fmpz(1), ring.constant(1)
    small = whole < 10**30
    for prime, n in whole.factor() if small else [(whole, 1)]:
        outside *= prime ** (int(n) // order)
        if rest := int(n) % order:
            base = ring.constant(fmpq(prime))
            kernels = kernels * ring.kernel(_root_name(order), base, order, base) ** rest
    return kernels * (fmpq(outside) / fmpq(number.q))


def inverse_root(ring: Ring, x: Element, index: int) -> Element:
    """Return 1/x for a polynomial without sign kernels that contains a root kernel k."""
    kernel = ring.kernels[index]
    power = kernel.power
    assert power is not None
    k = ring.generator(index)
    if kernel.order == 2:
        high, low = (Element(ring, part) for part in divmod(x.parts()[0], k.parts()[0]))
        if low.is_zero():
            return k * (high * power).inverse()
        conjugate = low - high * k
        norm = x * conjugate
        if not norm.is_zero():
            return conjugate * norm.inverse()
    else:
        n = int(x.numerator.term_content().degrees()[index])
        rest = Element(ring, x.parts()[0] / k.parts()[0] ** n)
        if not rest.involves(index):
            return k ** (kernel.order - n) * (rest * power).inverse()
    return ring.kernel("reciprocal", x)
