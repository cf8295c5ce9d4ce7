"""Floats on their way into exact arithmetic: the rational that was meant by each."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from symtheory.errors import InputError

_SHORT_OF_HALF = Fraction(1023, 2048)


def rational(value: Any) -> Fraction:
    """Return the rational that `value` was meant to be.

    A float stands for the whole interval of reals that round to it. If a rational with few digits
    lies there, its author meant that one: 0.1 is 1/10 and 1/3 is 1/3, in single and double
    precision alike. Very small and very large floats are read as the decimals (1e-30) or powers
    of two that they print as. Any other float is the member of smallest denominator. Integers and
    fractions are returned as they are.

    Raises:
        InputError: `value` is not finite.

    >>> rational(0.1), rational(1 / 3), rational(np.float32(0.3)), rational(7)
    (Fraction(1, 10), Fraction(1, 3), Fraction(3, 10), Fraction(7, 1))
    >>> rational(1e-20) == Fraction(1, 10**20), rational(2.0**-80) == Fraction(1, 2**80)
    (True, True)
    """
    if isinstance(value, (int, Fraction, np.integer, np.bool_)):
        return Fraction(int(value)) if not isinstance(value, Fraction) else value
    number = float(value)
    if not math.isfinite(number):
        raise InputError(f"{number} has no exact value; give finite numbers")
    kind = type(value) if isinstance(value, np.floating) else np.float64
    precision = np.finfo(kind).nmant + 1
    exact = Fraction(number)
    if exact.denominator == 1 and abs(exact) < 2**precision:
        return exact
    # A rational whose digits are no more than the float's own is not there by accident.
    simplest = _simplest_between(*_rounding_interval(exact, kind(number)))
    if abs(simplest.numerator) * simplest.denominator < 2**precision:
        return simplest
    if _significant_bits(exact) <= precision // 2:
        return exact
    decimal = Fraction(str(kind(number)))
    digits = str(abs(decimal.numerator * 10**400 // decimal.denominator)).strip("0")
    return decimal if len(digits) <= precision * 0.3 - 1 else simplest


def _rounding_interval(exact: Fraction, value: Any) -> tuple[Fraction, Fraction]:
    """Return an interval of reals that round to a float, short of the ties at its ends."""
    kind = type(value)
    with np.errstate(over="ignore"):
        below, above = (np.nextafter(value, kind(side)) for side in (-np.inf, np.inf))
    gaps = [exact - Fraction(float(x)) if np.isfinite(x) else Fraction(0) for x in (below, above)]
    return exact - gaps[0] * _SHORT_OF_HALF, exact - gaps[1] * _SHORT_OF_HALF


def _significant_bits(exact: Fraction) -> int:
    numerator = abs(exact.numerator)
    return (numerator >> ((numerator & -numerator).bit_length() - 1)).bit_length()


def _simplest_between(low: Fraction, high: Fraction) -> Fraction:
    """Return the fraction of smallest denominator in [low, high] (Stern-Brocot descent)."""
    if low > 0:
        floor = math.floor(low)
        if floor == low:
            return Fraction(floor)
        if floor + 1 <= high:
            return Fraction(floor + 1)
        return floor + 1 / _simplest_between(1 / (high - floor), 1 / (low - floor))
    if high < 0:
        return -_simplest_between(-high, -low)
    return Fraction(0)


def rational_array(values: Any) -> np.ndarray:
    """Return an object array of `rational` entries.

    >>> rational_array([[0.5, 2.0]]).tolist()
    [[Fraction(1, 2), Fraction(2, 1)]]
    """
    array = np.asarray(values)
    out = np.empty(array.shape, dtype=object)
    for index, item in np.ndenumerate(array):
        out[index] = rational(item)
    return out
