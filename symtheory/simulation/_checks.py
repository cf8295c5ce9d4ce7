"""Checks on the numbers that describe a simulation."""

from __future__ import annotations

import math
import numbers
from typing import Any

from symtheory.errors import InputError


def positive(name: str, value: Any) -> float:
    number = finite(name, value)
    if number <= 0:
        raise InputError(f"{name} must be positive, got {value!r}; give a number such as 1e-3")
    return number


def not_negative(name: str, value: Any) -> float:
    number = finite(name, value)
    if number < 0:
        raise InputError(f"{name} must not be negative, got {value!r}; give 0 to switch it off")
    return number


def finite(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a number, got {value!r}") from None
    if not math.isfinite(number):
        raise InputError(f"{name} must be finite, got {value!r}")
    return number


def count(name: str, value: Any, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise InputError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)
