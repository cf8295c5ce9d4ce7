"""Where an element vanishes: by activation pattern, exactly, or by a rigorous value at a point."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flint import arb, fmpq

from symtheory.errors import SymtheoryError
from symtheory.readings._balls import enclose, precision
from symtheory.readings._element import Element

if TYPE_CHECKING:
    from symtheory.readings._ring import Ring

Pattern = Mapping[frozenset[int], Any]
"""A polynomial in sign kernels: coefficient by the set of kernels."""

_PATTERN_LIMIT = 256
_KERNEL_SIGNS = 3
_POINTS = 8


def zero_set(ring: Ring, x: Element) -> Any:
    """Return 1[x = 0] up to null sets (a boolean or idempotent element), or None if unknown."""
    if x.is_zero():
        return True
    signs = ring.signs_in(x)
    if not signs:
        return False if certified(ring, x) else None
    if not _others(ring, x):
        try:
            return _common_zeros(ring, _coefficients(x, signs), [_PATTERN_LIMIT])
        except _TooManyError:
            return None
    if len(signs) > _KERNEL_SIGNS:
        return None
    on, off = (zero_set(ring, x.at_sign(signs[0], value)) for value in (1, 0))
    return None if on is None or off is None else _either(ring, signs[0], on, off)


def certified(ring: Ring, x: Element) -> bool:
    """Tell whether an element without sign kernels is known not to vanish identically.

    A non-zero polynomial in symbols does not. An expression with kernels is analytic where it is
    defined (which is taken to be connected): one point where it is certainly not zero is enough.
    Kernels of piecewise arguments may vanish on some activation patterns and not on others, so
    nothing is claimed of those.
    """
    if not _others(ring, x):
        return True
    if _is_piecewise(ring, x):
        return False
    above = Element(ring, x.numerator)
    for seed in range(_POINTS):
        value = _value(above, _Point(seed))
        if value is not None and (value > 0 or value < 0):
            return True
    return False


def _is_piecewise(ring: Ring, x: Element) -> bool:
    """Tell whether a sign kernel occurs, at any depth."""
    return any(
        index in ring.kernels
        and (index in ring.signs or _is_piecewise(ring, ring.kernels[index].argument))
        for poly in (x.numerator, x.denominator)
        if poly is not None
        for index, n in enumerate(poly.degrees())
        if n > 0
    )


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


def _coefficients(x: Element, signs: list[int]) -> list[Pattern]:
    """Return the coefficients of the symbols' monomials as polynomials in the sign kernels."""
    groups: dict[tuple[int, ...], dict[frozenset[int], Any]] = {}
    for exponents, coefficient in x.numerator.to_dict().items():
        rest = list(exponents)
        for index in signs:
            rest[index] = 0
        present = frozenset(index for index in signs if exponents[index])
        groups.setdefault(tuple(rest), {})[present] = coefficient
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
