"""Functions of ring elements: what they simplify to, and the kernel they become otherwise.

Every rewriting here is an identity of real functions wherever both sides are defined, up to null
sets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flint import fmpq

from symtheory.domains.ring._element import Element
from symtheory.domains.ring._indicators import manifest_sign, split
from symtheory.domains.ring._roots import root
from symtheory.errors import UnreadableError
from symtheory.program import FUNCTIONS, Function

if TYPE_CHECKING:
    from symtheory.domains.ring._ring import Ring

_FUNCTION_SPLITS = 3  # arguments with at most so many sign kernels are split on them
_UNKNOWN = Function()
_EXP_TERMS, _EXP_POWER = 4, 8  # exp of at most so many terms becomes a product of kernels


def apply(ring: Ring, function: str, x: Element) -> Element:
    """Return the value of a function at an element.

    Even and odd functions are normalized in the sign of the argument; arguments that depend on
    few activation patterns are split on them.
    """
    signs = ring.signs_in(x)
    if 0 < len(signs) <= _FUNCTION_SPLITS:
        return split(ring, signs[0], x, lambda part: apply(ring, function, part))
    row = FUNCTIONS.get(function, _UNKNOWN)
    if x.is_zero() and row.value_at_zero is not None:
        return ring.constant(fmpq(*row.value_at_zero))
    if function in _RULES:
        return _RULES[function](ring, x)
    if row.parity and x.leading_sign() < 0:
        out = ring.kernel(function, -x)
        return -out if row.parity == "odd" else out
    return ring.kernel(function, x)


def _exp(ring: Ring, x: Element) -> Element:
    numerator, denominator = x.parts()
    if denominator is None and len(numerator) <= _EXP_TERMS:
        factors = [_exp_term(ring, *term) for term in numerator.to_dict().items()]
        if all(factor is not None for factor in factors):
            out = ring.constant(1)
            for factor in factors:
                out = out * factor
            return out
    return 1 / ring.kernel("exp", -x) if x.leading_sign() < 0 else ring.kernel("exp", x)


def _exp_term(ring: Ring, exponents: tuple[int, ...], coefficient: fmpq) -> Element | None:
    """Return exp(c m) as a power of exp(m / q), the same q for every c where that is possible."""
    p, q = int(coefficient.p), int(coefficient.q)
    monomial = ring.from_terms({exponents: 1})
    [*indices] = (i for i, n in enumerate(exponents) if n)
    if len(indices) == 1 and exponents[indices[0]] == 1 and q == 1 and abs(p) <= _EXP_POWER:
        kernel = ring.kernels.get(indices[0])
        if kernel is not None and kernel.function == "log":  # exp(n log f) = f^n
            return kernel.argument**p
    unit = ring.exp_units.setdefault(monomial.key(), q)
    if unit % q == 0:
        p, q = p * (unit // q), unit
    return ring.kernel("exp", monomial / q) ** p if abs(p) <= _EXP_POWER else None


def _log(ring: Ring, x: Element) -> Element:
    number = x.as_fmpq()
    if number is not None:
        if number <= 0:
            raise UnreadableError(f"log of {number} is not a real number")
        return ring.constant(0) if number == 1 else ring.kernel("log", x)
    out = ring.constant(0)  # log(exp(g)^n f) = n g + log(f)
    parts = []
    for sign, poly in zip((1, -1), x.parts(), strict=True):
        if poly is not None:
            for index, n in enumerate(poly.term_content().degrees()):
                kernel = ring.kernels.get(index)
                if n > 0 and kernel is not None and kernel.function == "exp":
                    out = out + (sign * int(n)) * kernel.argument
                    poly = poly / ring.generator(index).parts()[0] ** int(n)
        parts.append(poly)
    above, below = parts
    if below is not None and manifest_sign(ring, below, strictly=False) == 1:
        # log(n/d) = log(n) - log(d)
        return out + _log(ring, Element(ring, above)) - _log(ring, Element(ring, below))
    rest = Element.fraction(ring, above, below)
    return out if rest.as_fmpq() == 1 else out + ring.kernel("log", rest)


def _logistic(ring: Ring, x: Element) -> Element:
    return 1 - ring.kernel("logistic", -x) if x.leading_sign() < 0 else ring.kernel("logistic", x)


def _exp2(ring: Ring, x: Element) -> Element:
    return 1 / ring.kernel("exp2", -x) if x.leading_sign() < 0 else ring.kernel("exp2", x)


def _sin(ring: Ring, x: Element) -> Element:
    even = apply(ring, "cos", x)
    return x.leading_sign() * ring.kernel("sin", x * x.leading_sign(), 2, 1 - even * even)


def _sinh(ring: Ring, x: Element) -> Element:
    even = apply(ring, "cosh", x)
    return x.leading_sign() * ring.kernel("sinh", x * x.leading_sign(), 2, even * even - 1)


def _cbrt(ring: Ring, x: Element) -> Element:
    return x.leading_sign() * root(ring, x * x.leading_sign(), 3)


_RULES: dict[str, Callable[..., Element]] = {
    "exp": _exp,
    "exp2": _exp2,
    "log": _log,
    "logistic": _logistic,
    "sin": _sin,
    "sinh": _sinh,
    "sqrt": lambda ring, x: root(ring, x, 2),
    "cbrt": _cbrt,
    "erfc": lambda ring, x: 1 - apply(ring, "erf", x),
}
