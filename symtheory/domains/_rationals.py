"""Rational numbers on their way into FLINT."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from flint import fmpq


def as_fmpq(value: Any) -> fmpq:
    """Return an integer or fraction as a FLINT rational.

    >>> as_fmpq(Fraction(2, 6))
    1/3
    """
    if isinstance(value, Fraction):
        return fmpq(value.numerator, value.denominator)
    return value if isinstance(value, fmpq) else fmpq(int(value))


def as_fraction(value: fmpq) -> Fraction:
    """Return a FLINT rational as a fraction."""
    return Fraction(int(value.p), int(value.q))
