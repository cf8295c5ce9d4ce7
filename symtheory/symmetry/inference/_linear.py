"""Exact null spaces of sparse systems: over the rationals, and over the field of two elements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

Number = int | Fraction
Row = dict[int, Number]


class Rationals:
    """Sparse rows over Q, kept fully reduced: every pivot occurs in its own row only.

    >>> system = Rationals()
    >>> system.add({0: 1, 1: -2}), system.add({0: 2, 1: -4})
    (True, False)
    >>> system.null([0, 1])
    [{1: 1, 0: 2}]
    """

    def __init__(self, rows: Iterable[Mapping[int, Number]] = ()) -> None:
        self._rows: dict[int, Row] = {}
        self._users: dict[int, set[int]] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[int, Number]) -> bool:
        """Add a row; tell whether it is independent of those before."""
        rest = self.reduce(row)
        if not rest:
            return False
        pivot = next((k for k, c in rest.items() if c in (1, -1)), next(iter(rest)))
        value = rest.pop(pivot)
        factor = value if value in (1, -1) else 1 / Fraction(value)
        rest = {k: _plain(c * factor) for k, c in rest.items()}
        for user in self._users.pop(pivot, ()):
            other = self._rows[user]
            amount = other.pop(pivot)
            for k, c in rest.items():
                value = _plain(other.get(k, 0) - amount * c)
                if value:
                    other[k] = value
                    self._users.setdefault(k, set()).add(user)
                elif k in other:
                    del other[k]
                    self._users[k].discard(user)
        self._rows[pivot] = rest
        for k in rest:
            self._users.setdefault(k, set()).add(pivot)
        return True

    def reduce(self, row: Mapping[int, Number]) -> Row:
        """Return what is left of a row after the pivots are eliminated."""
        out: Row = {}
        for k, c in row.items():
            parts = [(k, c)]
            if k in self._rows:
                parts = [(j, -c * d) for j, d in self._rows[k].items()]
            for j, d in parts:
                value = _plain(out.get(j, 0) + d)
                if value:
                    out[j] = value
                else:
                    out.pop(j, None)
        return out

    def pinned(self, unknown: int) -> bool:
        """Tell whether the rows force an unknown to be 0."""
        return unknown in self._rows and not self._rows[unknown]

    @property
    def rank(self) -> int:
        """Number of independent rows."""
        return len(self._rows)

    def null(self, unknowns: Iterable[int]) -> list[Row]:
        """Return a basis of the null space in some unknowns (all that their rows mention)."""
        out = []
        for free in unknowns:
            if free not in self._rows:
                vector: Row = {free: 1}
                for pivot in sorted(self._users.get(free, ())):
                    vector[pivot] = -self._rows[pivot][free]
                out.append(vector)
        return out


def _plain(value: Number) -> Number:
    if isinstance(value, Fraction) and value.denominator == 1:
        return value.numerator
    return value


class Bits:
    """Rows over the field of two elements, each a set of unknowns; integers hold the bits.

    >>> system = Bits()
    >>> system.add({0, 1}), system.add({1, 2}), system.add({0, 2})
    (True, True, False)
    >>> system.null([0, 1, 2])
    [[0, 1, 2]]
    """

    def __init__(self, rows: Iterable[Iterable[int]] = ()) -> None:
        self._rows: dict[int, int] = {}
        self._bit: dict[int, int] = {}
        self._name: list[int] = []
        for row in rows:
            self.add(row)

    def _pack(self, row: Iterable[int]) -> int:
        out = 0
        for k in row:
            if k not in self._bit:
                self._bit[k] = len(self._name)
                self._name.append(k)
            out ^= 1 << self._bit[k]
        return out

    def add(self, row: Iterable[int]) -> bool:
        """Add a row; tell whether it is independent of those before."""
        bits = self._pack(row)
        for pivot, other in self._rows.items():
            if bits >> pivot & 1:
                bits ^= other
        if not bits:
            return False
        pivot = bits.bit_length() - 1
        for k, other in self._rows.items():
            if other >> pivot & 1:
                self._rows[k] = other ^ bits
        self._rows[pivot] = bits
        return True

    def pinned(self, unknown: int) -> bool:
        """Tell whether the rows force an unknown to be 0."""
        bit = self._bit.get(unknown)
        return bit is not None and self._rows.get(bit) == 1 << bit

    @property
    def rank(self) -> int:
        """Number of independent rows."""
        return len(self._rows)

    def null(self, unknowns: Iterable[int]) -> list[list[int]]:
        """Return a basis of the null space in some unknowns (all that their rows mention)."""
        out = []
        for free in unknowns:
            bit = self._bit.get(free)
            if bit is None:
                out.append([free])
            elif bit not in self._rows:
                users = [self._name[p] for p, row in self._rows.items() if row >> bit & 1]
                out.append(sorted([free, *users]))
        return out


__all__ = ["Bits", "Number", "Rationals", "Row"]
