"""Where an element vanishes: by activation pattern, exactly, or by a rigorous value at a point.

"Almost everywhere" always means: for all values of the atomic symbols, and for all values of the
generic ones but a set of Lebesgue measure zero. An element is not said to be non-zero almost
everywhere unless that follows from a polynomial with a number among its coefficients, or from
analyticity on a connected set and one point; when in doubt the answer is "unknown".
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flint import arb, fmpq

from symtheory.domains._balls import precision
from symtheory.domains.ring._element import Element
from symtheory.domains.ring._enclose import enclose
from symtheory.errors import SymtheoryError
from symtheory.program import FUNCTIONS

if TYPE_CHECKING:
    from symtheory.domains.ring._ring import Ring

Pattern = Mapping[frozenset[int], Any]
"""A polynomial in sign kernels: coefficient by the set of kernels."""

_PATTERN_LIMIT = 256
_KERNEL_SIGNS = 3
_SQUAREFREE_TERMS = 300
_POINTS = 8


def zero_set(ring: Ring, x: Element) -> Any:
    """Return 1[x = 0] up to null sets (a boolean or idempotent element), or None if unknown.

    Null sets are those of the generic symbols, for every fixed value of the others: a polynomial
    in generic symbols over the polynomials in the others is non-zero almost everywhere where one
    of its coefficients is a non-zero number.
    """
    if x.is_zero():
        return True
    signs = ring.signs_in(x)
    if not signs:
        return False if certified(ring, x) else None
    if not _others(ring, x):
        try:
            out = _common_zeros(ring, _coefficients(ring, x, signs), [_PATTERN_LIMIT])
            if _is_generic(ring, x.numerator):
                return out
            # Coefficients that depend on atoms may vanish as well: an upper bound without them.
            rest = _coefficients(ring, x, signs, only_numbers=True)
            upper = _common_zeros(ring, rest, [_PATTERN_LIMIT])
            return out if _is_same(out, upper) else None
        except _TooManyError:
            return None
    if len(signs) > _KERNEL_SIGNS:
        return None
    on, off = (zero_set(ring, x.at_sign(signs[0], value)) for value in (1, 0))
    return None if on is None or off is None else _either(ring, signs[0], on, off)


def certified(ring: Ring, x: Element) -> bool:
    """Tell whether an element without sign kernels is known not to vanish identically.

    A polynomial with a non-zero number among its coefficients in the generic symbols does not, for
    no value of the other symbols. An expression with kernels is claimed not to only where all its
    symbols are generic and all its kernels are analytic on a connected set of full measure: entire
    functions, and square roots of squarefree polynomials that are nowhere negative (these vanish
    in codimension two). One point where it is certainly not zero is then enough. The denominator
    of `x` itself does not matter: where it vanishes, `x` is not defined.
    """
    if not _others(ring, x):
        return bool(_coefficients(ring, x, [], only_numbers=True))
    if not _is_analytic(ring, x.numerator):
        return False
    above = Element(ring, x.numerator)
    for seed in range(_POINTS):
        value = _value(above, _Point(seed))
        if value is not None and (value > 0 or value < 0):
            return True
    return False


_ENTIRE = frozenset(name for name, row in FUNCTIONS.items() if row.entire)
"""Functions that are analytic on all of R."""


def _is_analytic(ring: Ring, poly: Any) -> bool:
    """Tell whether a polynomial in generators is analytic on a connected set of full measure."""
    for index, n in enumerate(poly.degrees()):
        if n <= 0 or ring.is_generic(index):
            continue
        kernel = ring.kernels.get(index)
        if kernel is None or kernel.argument.denominator is not None:
            return False
        inner = kernel.argument.numerator
        if kernel.function in _ENTIRE:
            if not _is_analytic(ring, inner):
                return False
        elif not (kernel.function == "sqrt" and _is_smooth_radicand(ring, index, inner)):
            return False
    return True


def _is_smooth_radicand(ring: Ring, index: int, poly: Any) -> bool:
    if poly.is_constant():
        return bool(poly.leading_coefficient() > 0)
    if not ring.is_total_root(index):
        return False
    if any(n > 0 and not ring.is_generic(i) for i, n in enumerate(poly.degrees())):
        return False
    return len(poly) <= _SQUAREFREE_TERMS and all(n == 1 for _, n in poly.factor_squarefree()[1])


def _is_generic(ring: Ring, poly: Any) -> bool:
    """Tell whether all symbols of a polynomial are generic."""
    return all(n <= 0 or i in ring.kernels or ring.is_generic(i)
               for i, n in enumerate(poly.degrees()))  # fmt: skip


def _is_same(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return bool((a - b).is_zero())


def is_closed(ring: Ring, x: Element) -> bool:
    """Tell whether no symbol occurs, at any depth."""
    return all(
        index in ring.kernels and is_closed(ring, ring.kernels[index].argument)
        for poly in (x.numerator, x.denominator)
        if poly is not None
        for index, n in enumerate(poly.degrees())
        if n > 0
    )


def sign_of_number(x: Element) -> int | None:
    """Return the sign of an element without symbols, None if it cannot be told from zero."""
    value = _value(x, {})
    if value is None or not (value > 0 or value < 0):
        return None
    return 1 if value > 0 else -1


def _value(x: Element, point: Mapping[str, arb]) -> arb | None:
    try:
        with precision(192):
            value = enclose(x, point)
    except (SymtheoryError, KeyError, ZeroDivisionError):
        return None
    return value if value.is_finite() else None


class _Point(dict[str, arb]):
    """A rational point, drawn coordinate by coordinate; every other one has positive entries."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self._low = 1 if seed % 2 else -60

    def __missing__(self, name: str) -> arb:
        self[name] = value = arb(fmpq(self._random.randint(self._low, 60) * 2 + 1, 64))
        return value


def _others(ring: Ring, x: Element) -> bool:
    """Tell whether the numerator contains kernels other than signs."""
    signs = set(ring.signs)
    degrees = x.numerator.degrees()
    return any(k not in signs and k < len(degrees) and degrees[k] > 0 for k in ring.kernels)


def _coefficients(
    ring: Ring, x: Element, signs: list[int], only_numbers: bool = False
) -> list[Pattern]:
    """Return the coefficients of the symbols' monomials as polynomials in the sign kernels.

    With `only_numbers` those of generic monomials that no other symbol occurs in.
    """
    groups: dict[tuple[int, ...], dict[frozenset[int], Any]] = {}
    spoilt: set[tuple[int, ...]] = set()
    for exponents, coefficient in x.numerator.to_dict().items():
        rest = list(exponents)
        for index in signs:
            rest[index] = 0
        if only_numbers:
            generic = tuple(n if n and ring.is_generic(i) else 0 for i, n in enumerate(rest))
            if generic != tuple(rest):
                spoilt.add(generic)
                continue
        present = frozenset(index for index in signs if exponents[index])
        groups.setdefault(tuple(rest), {})[present] = coefficient
    groups = {rest: group for rest, group in groups.items() if rest not in spoilt}
    unique = {
        frozenset((s, str(c / next(iter(group.values())))) for s, c in group.items()): group
        for group in groups.values()
    }
    return list(unique.values())


class _TooManyError(Exception):
    pass


def _common_zeros(ring: Ring, patterns: list[Pattern], budget: list[int]) -> Any:
    """Return the indicator that all polynomials in sign kernels vanish."""
    patterns = [pattern for pattern in patterns if pattern]
    if not patterns:
        return True
    if any(set(pattern) == {frozenset()} for pattern in patterns):
        return False
    budget[0] -= 1
    if budget[0] < 0:
        raise _TooManyError
    index = min(i for s in min(patterns, key=len) for i in s)
    on, off = (
        _common_zeros(ring, [_fixed(pattern, index, value) for pattern in patterns], budget)
        for value in (1, 0)
    )
    return _either(ring, index, on, off)


def _fixed(pattern: Pattern, index: int, value: int) -> Pattern:
    out: dict[frozenset[int], Any] = {}
    for present, coefficient in pattern.items():
        if value or index not in present:
            key = present - {index}
            out[key] = out.get(key, 0) + coefficient
    return {present: c for present, c in out.items() if c != 0}


def _either(ring: Ring, index: int, on: Any, off: Any) -> Any:
    if isinstance(on, bool) and isinstance(off, bool) and on == off:
        return on
    number = [ring.constant(int(c)) if isinstance(c, bool) else c for c in (on, off)]
    s = ring.generator(index)
    out = s * number[0] + (1 - s) * number[1]
    value = out.as_fmpq()
    return out if value is None else value != 0
