"""Degrees of an array's entries under a scaling of the parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from symtheory.errors import SymtheoryError

HALVINGS = 2**8 * 3**3 * 5**2
"""Degrees are integers in units of 1/HALVINGS, so that nested roots stay exact."""

LARGEST = 2**40
"""Larger degrees are refused, so that sums and products of them stay exact in 64 bits."""


class NotHomogeneousError(SymtheoryError):
    """Two terms of a sum scale differently; the domain then says nothing about the loss."""


@dataclasses.dataclass(frozen=True)
class Scaled:
    """Degrees of an array's entries.

    Attributes:
        degrees: The degrees, in units of 1/HALVINGS.
        zero: Entries that are 0 (or infinite, or NaN): unchanged by any positive factor, they fit
            any degree.
        number: The number itself, for a scalar constant (exponents are read off it).
    """

    degrees: np.ndarray
    zero: np.ndarray
    number: Fraction | None = None

    @property
    def is_invariant(self) -> bool:
        """Whether no entry changes."""
        return bool(np.all((self.degrees == 0) | self.zero))


def scaled(degrees: Any, zero: Any = False) -> Scaled:
    """Return degrees with the zero mask broadcast to their shape."""
    degrees = np.asarray(degrees, dtype=np.int64)
    if degrees.size and max(-int(degrees.min()), int(degrees.max())) > LARGEST:
        raise NotHomogeneousError("a degree is too large to be computed with")
    return Scaled(degrees, np.broadcast_to(np.asarray(zero, dtype=bool), degrees.shape))


def lift(x: Any) -> Scaled:
    """Return a concrete array as entries of degree 0."""
    if isinstance(x, Scaled):
        return x
    return scaled(np.zeros(np.shape(x), dtype=np.int64), np.asarray(x) == 0)


def join(function: Callable[..., Any], values: Sequence[Any]) -> Any:
    """Apply a movement of a sequence of arrays, such as np.stack."""
    if not any(isinstance(x, Scaled) for x in values):
        return function(values)
    items = [lift(x) for x in values]
    return scaled(function([x.degrees for x in items]), function([x.zero for x in items]))
