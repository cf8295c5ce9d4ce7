"""Indicators of ring elements: 1[f > 0] and 1[f = 0], true or false on sight, or a kernel.

1[-f > 0] = 1 - 1[f > 0] fails where f = 0 on a whole activation pattern, so the zero set of f is
worked out first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from symtheory.domains.ring._element import Element
from symtheory.domains.ring._zeros import is_closed, sign_of_number, zero_set
from symtheory.program import FUNCTIONS

if TYPE_CHECKING:
    from symtheory.domains.ring._ring import Ring

INDICATORS = frozenset({"positive", "vanishing"})
"""Kernels with the values 0 and 1."""

_SIGN_SPLITS = 2  # arguments with at most so many sign kernels are split on them
_ZERO_SPLITS = 6
_STRICT = frozenset(name for name, row in FUNCTIONS.items() if row.positive)


def positive(ring: Ring, x: Element) -> Any:
    """Return 1[x > 0]: a boolean where it is decided, else an idempotent element."""
    number = x.as_fmpq()
    if number is not None:
        return bool(number > 0)
    signs = ring.signs_in(x)
    if 0 < len(signs) <= _SIGN_SPLITS:
        return _condition(split(ring, signs[0], x, lambda part: positive(ring, part)))
    if is_closed(ring, x) and (sign := sign_of_number(x)) is not None:
        return sign > 0
    sign, core = 1, ring.constant(1)
    for place, poly in enumerate(x.parts()):
        if poly is not None:
            rest = _without_squares(ring, poly)
            known = manifest_sign(ring, rest, strictly=place == 0)
            sign *= known or 1
            core = core if known else core * Element(ring, rest)
    if core.as_fmpq() is not None:
        return sign > 0
    lead = core.numerator.leading_coefficient() * sign
    core = core * (1 / core.numerator.leading_coefficient())
    if lead > 0:
        return ring.kernel("positive", core)
    zero = zero_set(ring, core)
    if zero is None and core.denominator is None and not _has_kernels(ring, core):
        zero = ring.kernel("vanishing", core)
    if zero is None:  # no way to tell: an indicator of its own, unrelated to 1[core > 0]
        return ring.kernel("positive", -core)
    return _condition(1 - ring.kernel("positive", core) - _number(ring, zero))


def vanishes(ring: Ring, x: Element) -> Any:
    """Return 1[x = 0] up to null sets: a boolean, or an idempotent element."""
    zero = zero_set(ring, x)
    if zero is not None:
        return zero
    signs = ring.signs_in(x)
    if 0 < len(signs) <= _ZERO_SPLITS:
        return _condition(split(ring, signs[0], x, lambda part: vanishes(ring, part)))
    core = Element(ring, x.numerator) * (1 / x.numerator.leading_coefficient())
    return ring.kernel("vanishing", core)


def absolute(ring: Ring, x: Element) -> Element:
    """Return |x|; where x = 0 it does not matter which sign is taken."""
    x = x * x.leading_sign()
    is_positive = positive(ring, x)
    if isinstance(is_positive, bool):
        return x if is_positive else -x
    return x * (2 * is_positive - 1)


def _condition(x: Element) -> Any:
    number = x.as_fmpq()
    return x if number is None else bool(number != 0)


def _number(ring: Ring, condition: Any) -> Element:
    return ring.constant(int(condition)) if isinstance(condition, bool) else condition


def split(ring: Ring, index: int, x: Element, function: Callable[[Element], Any]) -> Element:
    """Return a function of an element, pattern by pattern of one sign kernel."""
    s = ring.generator(index)
    on = _number(ring, function(x.at_sign(index, 1)))
    off = _number(ring, function(x.at_sign(index, 0)))
    return ring.generator(index) * on + (1 - s) * off


def _without_squares(ring: Ring, poly: Any) -> Any:
    """Divide out positive kernels and even powers of symbols that divide every term."""
    content = poly.term_content()
    divisor = poly.context().constant(1)
    for index, n in enumerate(content.degrees()):
        if n > 0:
            kept = int(n)
            if index not in ring.kernels:  # x^2 is 0 where x is, which matters for atoms
                kept = kept % 2 if kept % 2 or ring.is_generic(index) else 2
            kept = 0 if _is_strict(ring, index) else kept
            divisor = divisor * ring.generator(index).parts()[0] ** (int(n) - kept)
    return poly / divisor


def is_positive_everywhere(ring: Ring, poly: Any) -> bool:
    """Tell on sight that a polynomial in generators vanishes nowhere at all (up to its sign)."""
    return manifest_sign(ring, poly, strictly=False) is not None and any(
        all(_kernel_name(ring, i) in _STRICT for i, n in enumerate(exponents) if n)
        for exponents in poly.to_dict()
    )


def _kernel_name(ring: Ring, index: int) -> str | None:
    kernel = ring.kernels.get(index)
    return None if kernel is None else kernel.function


def _has_kernels(ring: Ring, x: Element) -> bool:
    return any(n > 0 and i in ring.kernels for i, n in enumerate(x.numerator.degrees()))


def manifest_sign(ring: Ring, poly: Any, strictly: bool = True) -> int | None:
    """Return the sign of a sum of squares and the like; None if it is not on sight.

    Args:
        ring: The ring.
        poly: The polynomial.
        strictly: It must not vanish but on a null set of the generic symbols, for any value of the
            others. A denominator need not be asked: where it vanishes there is no value at all.
    """
    strict = False
    sign = 0
    for exponents, coefficient in poly.to_dict().items():
        if sign and (coefficient > 0) != (sign > 0):
            return None
        sign = 1 if coefficient > 0 else -1
        present = [(i, n) for i, n in enumerate(exponents) if n]
        if any(n % 2 and not _is_nonnegative(ring, i) for i, n in present):
            return None
        strict = strict or all(_is_strict(ring, i) or ring.is_generic(i) for i, _ in present)
    return sign if sign and (strict or not strictly) else None


def _is_nonnegative(ring: Ring, index: int) -> bool:
    kernel = ring.kernels.get(index)
    if kernel is None:
        return False
    is_root = kernel.order and kernel.function not in ("sin", "sinh", "cbrt")
    return bool(is_root) or kernel.function in _STRICT or kernel.function in INDICATORS


def _is_strict(ring: Ring, index: int) -> bool:
    """Tell whether a generator is positive almost everywhere (where it is real)."""
    kernel = ring.kernels.get(index)
    if kernel is None:
        return False
    if kernel.order and _is_nonnegative(ring, index):
        return zero_set(ring, kernel.argument) is False
    return kernel.function in _STRICT
