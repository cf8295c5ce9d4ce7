"""Lanes: residues mod a prime beside floats with bounds on their errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from symtheory.exact import rational
from symtheory.symmetry.discovery._modular import PRIME

UNIT = 2.0**-53
WIDEN = 1 + 2.0**-48
TINY = 1e-300


@dataclasses.dataclass(frozen=True)
class Lanes:
    """Residues (or None), floats, and bounds on the floats' errors; arrays of one shape."""

    residues: np.ndarray | None
    values: np.ndarray
    errors: np.ndarray

    def map(self, function: Callable[[np.ndarray], Any]) -> Lanes:
        """Apply a movement of entries to all three."""
        r = None if self.residues is None else function(self.residues)
        return Lanes(r, function(self.values), function(self.errors))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the arrays."""
        return self.values.shape


def lift(x: Any) -> Lanes:
    """Return a concrete array as exact lanes."""
    if isinstance(x, Lanes):
        return x
    x = np.asarray(x)
    return Lanes(x.astype(np.int64) % PRIME, x.astype(float), np.zeros(x.shape))


def from_floats(array: np.ndarray) -> Lanes:
    """Return floats as the rationals they stand for."""
    values = array.astype(float)
    if np.all(values == np.rint(values)) and np.all(np.abs(values) < 2.0**53):
        return Lanes(values.astype(np.int64) % PRIME, values, np.zeros(values.shape))
    if not np.all(np.isfinite(values)):
        return Lanes(None, values, np.where(np.isnan(values), np.inf, 0.0))
    unique, back = np.unique(array, return_inverse=True)
    exact = [rational(x) for x in unique]
    residues = [x.numerator * pow(x.denominator, -1, PRIME) % PRIME for x in exact]
    errors = [abs(float(x - Fraction(float(v)))) * 2 for x, v in zip(exact, unique, strict=True)]
    back = back.reshape(array.shape)
    return Lanes(np.array(residues, dtype=np.int64)[back], values, np.array(errors)[back])


def joined(function: Callable[..., Any], xs: Sequence[Any]) -> Any:
    if not any(isinstance(x, Lanes) for x in xs):
        return function(xs)
    items = [lift(x) for x in xs]
    residues = None
    if all(x.residues is not None for x in items):
        residues = function([x.residues for x in items])
    return Lanes(residues, function([x.values for x in items]), function([x.errors for x in items]))


def lanes(residues: np.ndarray | None, values: Any, errors: Any) -> Lanes:
    values, errors = np.asarray(values), np.asarray(errors)
    bad = np.isnan(errors) | np.isnan(values)
    if np.any(bad):
        errors = np.where(bad, np.inf, errors)
    return Lanes(residues, values, errors)


def both(a: Lanes, b: Lanes, function: Callable[..., Any]) -> np.ndarray | None:
    if a.residues is None or b.residues is None:
        return None
    return function(a.residues, b.residues) % PRIME
