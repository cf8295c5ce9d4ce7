"""How many charges of proved symmetries are independent, in models of any size.

The charge of a symmetric generator A is theta^T A theta, that of a shift b is b . theta; they are
independent where their differentials A theta and b are. Each differential has few entries. Entries
with random multipliers are summed into a few buckets: that can only lose rank, and mod a prime at
one point rank can only be lost, so what is left is a lower bound, without condition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from symtheory.linear_algebra import exact
from symtheory.linear_algebra._modular import PRIME, rank
from symtheory.symmetry._memory import BOXED, GIB
from symtheory.symmetry.discovery._measure import Part, Place

_MOST = 4000
"""Differentials whose rank is taken; more are left out."""


class Differentials:
    """Collects differentials of charges, leaf by leaf.

    Args:
        parts: The parts of a model that symmetries act on.
        shapes: The shapes of its leaves.
        seed: Seed of the point.
    """

    def __init__(self, parts: Sequence[Part], shapes: Sequence[tuple[int, ...]], seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._parts = parts
        self._theta = [rng.integers(1, PRIME, shape) for shape in shapes]
        sizes = [math.prod(shape) for shape in shapes]
        starts = np.cumsum([0, *sizes])[:-1]
        self._places = [
            np.arange(start, start + size).reshape(shape)
            for start, size, shape in zip(starts, sizes, shapes, strict=True)
        ]
        self._rng, self._size = rng, sum(sizes)
        self._entries: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._count = 0

    def _view(self, arrays: list[np.ndarray], place: Place) -> np.ndarray:
        """Return an array of entries, the axis of a place first, as a matrix."""
        part = self._parts[place.part]
        array = arrays[part.leaf] if part.index is None else arrays[part.leaf][part.index]
        if place.axis < 0:
            return array.reshape(1, -1)
        return np.moveaxis(array, place.axis, 0).reshape(array.shape[place.axis], -1)

    def _add(self, rows: np.ndarray, places: np.ndarray, values: np.ndarray, rate: int) -> None:
        where = self._count + np.broadcast_to(rows[:, None], places.shape)
        self._entries.append((where.reshape(-1), places.reshape(-1),
                              (values * (rate % PRIME) % PRIME).reshape(-1)))  # fmt: skip

    def units(self, rates: Mapping[Place, Fraction], units: Sequence[int]) -> None:
        """Add the rescalings of single units (unit 0 of axis -1: of a whole part)."""
        chosen = np.asarray(units)
        for place, rate in _whole(rates).items():
            view, at = (self._view(x, place)[chosen] for x in (self._theta, self._places))
            self._add(np.arange(len(chosen)), at, view, rate)
        self._count += len(chosen)

    def mixings(
        self, places: Sequence[Place], patterns: Sequence[Sequence[Fraction]], size: int
    ) -> None:
        """Add the symmetric combinations of r E_pq + t E_qp, p < q, for patterns (r, t)."""
        half = len(places)
        rows = [{k: p[n] - p[n + half] for k, p in enumerate(patterns)} for n in range(half)]
        p, q = np.triu_indices(size, 1)
        for row in exact.null_space(
            [{k: x for k, x in row.items() if x} for row in rows], len(patterns)
        ):
            rates = {
                place: sum((Fraction(c) * patterns[k][n] for k, c in row.items()), Fraction(0))
                for n, place in enumerate(places)
            }
            for place, rate in _whole(rates).items():
                view, at = (self._view(x, place) for x in (self._theta, self._places))
                for target, source in ((p, q), (q, p)):
                    self._add(np.arange(len(p)), at[target], view[source], rate)
            self._count += len(p)

    def shifts(self, place: Place) -> None:
        """Add the shifts along an axis."""
        at = self._view(self._places, place).T
        self._add(np.arange(len(at)), at, np.ones_like(at), 1)
        self._count += len(at)

    def rank(self, max_memory: float | None) -> int:
        """Return a lower bound on the number of independent charges, of fewer if memory is short.

        Args:
            max_memory: Limit in GiB.
        """
        room = _MOST if max_memory is None else math.isqrt(int(max_memory * GIB / BOXED))
        count = min(self._count, _MOST, room)
        if not count:
            return 0
        buckets = self._rng.integers(0, count + 24, self._size)
        factors = self._rng.integers(1, PRIME, self._size)
        table = np.zeros((count, count + 24), dtype=np.int64)
        for rows, places, values in self._entries:
            kept = rows < count
            terms = values[kept] * factors[places[kept]] % PRIME
            np.add.at(table, (rows[kept], buckets[places[kept]]), terms)
        return rank(table % PRIME)


def _whole(rates: Mapping[Place, Fraction]) -> dict[Place, int]:
    """Return the same rates up to a factor, as integers, without those that are zero."""
    common = math.lcm(*(rate.denominator for rate in rates.values()))
    return {place: int(rate * common) for place, rate in rates.items() if rate}
