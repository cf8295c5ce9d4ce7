"""Linear algebra over the rationals, with rows as dictionaries from column to number."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

Number = int | Fraction
Row = dict[Any, Number]


class Span:
    """A subspace in reduced echelon form, with the combination of given vectors that each row is.

    >>> span = Span()
    >>> span.add({"x": 1, "y": 2}), span.add({"x": 2, "y": 4})
    (True, False)
    >>> span.reduce({"x": 1})
    ({'y': -2}, {})
    """

    def __init__(self) -> None:
        self._rows: dict[Hashable, tuple[Row, Row]] = {}

    def reduce(self, vector: Row, origin: Row | None = None) -> tuple[Row, Row]:
        """Return what is left of a vector, and `origin` minus what was used of each given one."""
        vector, origin = dict(vector), dict(origin or {})
        while True:
            pivot = next((place for place in vector if place in self._rows), None)
            if pivot is None:
                return vector, origin
            factor = vector[pivot]
            for target, source in zip((vector, origin), self._rows[pivot], strict=True):
                subtract(target, factor, source)

    def add(self, vector: Row, origin: Row | None = None) -> bool:
        """Add a vector; tell whether it is independent of those before."""
        vector, origin = self.reduce(vector, origin)
        if not vector:
            return False
        pivot = next(iter(vector))
        value = vector[pivot]
        factor = value if value in (1, -1) else 1 / Fraction(value)
        scaled = lambda part: {p: factor * x for p, x in part.items()}
        new = (scaled(vector), scaled(origin))
        for row, used in self._rows.values():
            if pivot in row:
                amount = row[pivot]
                subtract(row, amount, new[0])
                subtract(used, amount, new[1])
        self._rows[pivot] = new
        return True

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def pivots(self) -> dict[Hashable, Row]:
        """The rows of the reduced echelon form by pivot."""
        return {pivot: row for pivot, (row, _) in self._rows.items()}


def subtract(target: Row, factor: Number, row: Mapping[Any, Number]) -> None:
    """Subtract a multiple of a row from another one, in place."""
    for place, value in row.items():
        rest = target.get(place, 0) - factor * value
        if rest:
            target[place] = rest
        else:
            target.pop(place, None)


def plain(row: Mapping[Any, Number]) -> Row:
    """Return a row without zeros, whole numbers as integers: they are faster to compute with."""
    return {
        place: value.numerator if value.denominator == 1 else value
        for place, value in row.items()
        if value
    }


def span(rows: Iterable[Mapping[Any, Number]]) -> Span:
    """Return the span of rows."""
    out = Span()
    for row in {tuple(sorted(row.items())): row for row in rows}.values():
        out.add(plain(row))
    return out


def rank(rows: Iterable[Mapping[Any, Number]]) -> int:
    """Return the rank.

    >>> rank([{0: 1, 1: 2}, {0: 2, 1: 4}])
    1
    """
    return len(span(rows))


def echelon(rows: Iterable[Mapping[Any, Number]]) -> dict[Hashable, Row]:
    """Return the rows of the reduced echelon form by pivot.

    >>> echelon([{0: 2, 1: 4}])
    {0: {0: Fraction(1, 1), 1: Fraction(2, 1)}}
    """
    return span(rows).pivots


def null_space(rows: Iterable[Mapping[Any, Number]], columns: int) -> list[Row]:
    """Return a basis of {x : every row . x = 0}, each vector 1 at a free column of its own.

    Args:
        rows: Rows over the columns 0 ... columns - 1.
        columns: How many columns there are.

    >>> null_space([{0: 1, 1: -1}], 2)
    [{1: 1, 0: 1}]
    """
    pivots = echelon(rows)
    out = []
    for free in range(columns):
        if free not in pivots:
            vector: Row = {free: 1}
            for pivot, row in pivots.items():
                if free in row:
                    vector[pivot] = -row[free]
            out.append(vector)
    return out


def whole_multiple(numbers: Sequence[Fraction], largest: int | None = None) -> list[int] | None:
    """Return a vector of fractions times its common denominator.

    Args:
        numbers: The fractions.
        largest: Largest absolute value that is allowed; beyond it there is no result.

    >>> whole_multiple([Fraction(1, 2), Fraction(1, 3)])
    [3, 2]
    """
    common = math.lcm(*(x.denominator for x in numbers))
    out = [int(x * common) for x in numbers]
    return None if largest is not None and max(map(abs, out), default=0) > largest else out
