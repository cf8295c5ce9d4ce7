"""Numbers of the domain *residues*: residues mod a prime, enclosures, sources of entries."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from symtheory.domains import _enclosures as enclosures
from symtheory.domains._enclosures import Enclosure
from symtheory.linear_algebra._modular import PRIME, residue

_SOURCES = itertools.count(1)


@dataclasses.dataclass(frozen=True, eq=False)
class Numbers:
    """An array of numbers.

    Attributes:
        residues: Residues mod `PRIME`, or None where the numbers are not known to be rational. They
            mean nothing where the number is infinite or unknown.
        enclosure: Middles and radii, or None where nothing is to be compared.
        source: One positive number for each entry and its copies, 0 for entries that do not depend
            on inputs that vary; None if none does, or if there is no enclosure.
    """

    residues: np.ndarray | None
    enclosure: Enclosure | None
    source: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.values.shape if self.residues is None else self.residues.shape

    @property
    def size(self) -> int:
        """The number of entries."""
        return math.prod(self.shape)

    @property
    def values(self) -> np.ndarray:
        """The middles of the enclosures."""
        assert self.enclosure is not None
        return self.enclosure.middle

    @property
    def errors(self) -> np.ndarray:
        """The radii of the enclosures."""
        assert self.enclosure is not None
        return self.enclosure.radius

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> Numbers:
        """Apply a movement of entries to all parts."""
        return Numbers(
            None if self.residues is None else function(self.residues),
            None if self.enclosure is None else self.enclosure.map(function),
            None if self.source is None else function(self.source),
        )

    def reshape(self, *shape: int) -> Numbers:
        """Return the same entries in another shape."""
        return self.map(lambda x: x.reshape(shape))

    def __getitem__(self, index: Any) -> Numbers:
        return self.map(lambda x: np.asarray(x[index]))


def together(function: Callable[[list[np.ndarray]], np.ndarray], xs: Sequence[Numbers]) -> Numbers:
    """Apply a movement that puts the entries of several arrays into one."""
    residues = [x.residues for x in xs]
    pairs = [x.enclosure for x in xs]
    enclosure, source = None, None
    if all(pair is not None for pair in pairs):
        enclosure = Enclosure(
            function([pair.middle for pair in pairs if pair is not None]),
            function([pair.radius for pair in pairs if pair is not None]),
        )
    if any(x.source is not None for x in xs):
        none = lambda x: np.zeros(x.shape, dtype=np.int64)
        source = function([none(x) if x.source is None else x.source for x in xs])
    known = all(r is not None for r in residues)
    return Numbers(function(residues) if known else None, enclosure, source)  # type: ignore[arg-type]


def concatenate(xs: Sequence[Numbers], axis: int) -> Numbers:
    """Return arrays one after the other along an axis."""
    return together(lambda parts: np.concatenate(parts, axis), xs)


def from_fractions(array: Any, enclosed: bool = True, varies: bool = False) -> Numbers:
    """Return integers, or an object array of fractions, as numbers.

    Args:
        array: The numbers.
        enclosed: Whether enclosures are wanted.
        varies: Whether they are a point of a continuum, so that ties between them mean nothing.
    """
    array = np.asarray(array)
    if array.dtype.kind in "biu":
        whole = array.astype(np.int64)
        enclosure = None
        if enclosed:
            middle = whole.astype(float)
            large = np.abs(middle) >= 2.0**53
            enclosure = Enclosure(middle, np.where(large, np.abs(middle) * 2.0**-52, 0.0))
        out = Numbers(whole % PRIME, enclosure)
    else:
        unique = {x: k for k, x in enumerate(dict.fromkeys(array.reshape(-1).tolist()))}
        back = np.array([unique[x] for x in array.reshape(-1).tolist()], dtype=np.int64)
        out = table([Fraction(x) for x in unique], back.reshape(array.shape), enclosed)
    return varying(out) if varies and enclosed else out


def varying(x: Numbers) -> Numbers:
    """Return numbers every entry of which is a source of its own."""
    start = next(_SOURCES) % (2**31 - 1) + 1 << 32
    size = math.prod(x.shape)
    source = np.arange(start, start + size, dtype=np.int64).reshape(x.shape)
    return dataclasses.replace(x, source=source)


def table(exact: list[Fraction], back: np.ndarray, enclosed: bool) -> Numbers:
    """Return the rationals at the given places of a list."""
    residues = [residue(x) for x in exact]
    numbers = None
    if None not in residues:
        numbers = np.array(residues, dtype=np.int64)[back]
    if not enclosed:
        if numbers is None:
            raise ZeroDivisionError("a constant has a denominator that the prime divides")
        return Numbers(numbers, None)
    pairs = np.array([enclosures.nearest(x) for x in exact], dtype=float).reshape(-1, 2)
    return Numbers(numbers, Enclosure(pairs[:, 0][back], pairs[:, 1][back]))


def unknown_where(x: Numbers, open_: np.ndarray) -> Numbers:
    """Return numbers of which some are unknown."""
    if x.enclosure is None:
        return x
    return dataclasses.replace(x, enclosure=Enclosure(x.values, np.where(open_, np.inf, x.errors)))
