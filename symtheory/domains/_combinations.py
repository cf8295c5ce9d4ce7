"""Combinations of unknown terms with rational rates, as numbers: equal ones have equal numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, final

import numpy as np

from symtheory.errors import SymtheoryError

_LONGEST = 16
"""Combinations of more terms become a term of their own."""

MOST = 2**22
"""Terms of all combinations that one operation may look at."""

Combination = tuple[tuple[int, Fraction], ...]
"""Terms with their rates, sorted by term."""


class NotFollowedError(SymtheoryError):
    """A term cannot be followed through an operation; nothing is said about the loss."""


@final
class Combinations:
    """All combinations met so far; number 0 is the empty one.

    >>> terms = Combinations()
    >>> a, b = terms.new(), terms.new()
    >>> terms.plus(terms.plus(a, b), terms.combined((a, Fraction(-1)))) == b
    True
    """

    def __init__(self) -> None:
        self._combinations: list[Combination] = [()]
        self._numbers: dict[Combination, int] = {(): 0}
        self._bases: dict[Any, int] = {}

    def new(self) -> int:
        """Return a term like no other."""
        return self._number({self._base(object()): Fraction(1)})

    def _base(self, key: Any) -> int:
        return self._bases.setdefault(key, len(self._bases))

    def _number(self, rates: Mapping[int, Fraction]) -> int:
        """Return the number of a combination; the same one has the same number."""
        kept = tuple(sorted((base, rate) for base, rate in rates.items() if rate))
        if len(kept) > _LONGEST:
            kept = ((self._base(kept), Fraction(1)),)
        if kept not in self._numbers:
            self._numbers[kept] = len(self._combinations)
            self._combinations.append(kept)
        return self._numbers[kept]

    def combined(self, *parts: tuple[int, Fraction]) -> int:
        """Return the number of a sum of combinations, each with a rate."""
        rates: dict[int, Fraction] = {}
        for number, factor in parts:
            for base, rate in self._combinations[number]:
                rates[base] = rates.get(base, Fraction(0)) + factor * rate
        return self._number(rates)

    def plus(self, a: int, b: int) -> int:
        """Return the sum of two combinations."""
        return self.combined((a, Fraction(1)), (b, Fraction(1)))

    def product(self, number: int, entry: int) -> int:
        """Return a combination times a number that does not change and is only known by name."""
        rates = {self._base((base, entry)): rate for base, rate in self._combinations[number]}
        return self._number(rates)

    def pairs(self, rule: Callable[[int, int], int], x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return a function of two numbers, evaluated once for every pair that occurs."""
        left, left_at = np.unique(x, return_inverse=True)
        right, right_at = np.unique(y, return_inverse=True)
        pairs = left_at.reshape(x.shape) * len(right) + right_at.reshape(y.shape)
        found, inverse = np.unique(pairs, return_inverse=True)
        if len(found) > MOST // 16:
            raise NotFollowedError("too many entries change differently")
        places = zip(*np.divmod(found, max(len(right), 1)), strict=True)
        numbers = [rule(int(left[a]), int(right[b])) for a, b in places]
        return np.array(numbers, dtype=np.int64)[inverse.reshape(-1)].reshape(pairs.shape)
