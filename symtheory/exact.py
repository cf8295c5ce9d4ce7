"""Floats on their way into exact arithmetic: the simplest rational that rounds to each."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from symtheory.errors import InputError


def rational(value: Any) -> Fraction:
    """Return the rational of smallest denominator that rounds to `value`.

    A float stands for the whole interval of reals that round to it; its author meant the simplest
    member: 0.1 is 1/10 and 1/3 is 1/3, in single and double precision alike. Integers and
    fractions are returned as they are.

    Raises:
        InputError: `value` is not finite.

    >>> rational(0.1), rational(1 / 3), rational(np.float32(0.3)), rational(7)
    (Fraction(1, 10), Fraction(1, 3), Fraction(3, 10), Fraction(7, 1))
    """
    if isinstance(value, (int, Fraction, np.integer, np.bool_)):
        return Fraction(int(value)) if not isinstance(value, Fraction) else value
    number = float(value)
    if not math.isfinite(number):
        raise InputError(f"{number} has no exact value; give finite numbers")
    exact = Fraction(number)
    if exact.denominator == 1:
        return exact
    # Half the gap to the neighbouring float of the value's own precision, on either side.
    kind = type(value) if isinstance(value, np.floating) else np.float64
    gap = Fraction(float(np.spacing(kind(number)))) / 2
    return _simplest_between(exact - abs(gap), exact + abs(gap))


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
