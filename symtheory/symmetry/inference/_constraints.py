"""What the program demands of its symmetries, written down operation by operation."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping
from typing import Any

MIXING, PERMUTATION = "mixing", "permutation"


@dataclasses.dataclass(frozen=True, slots=True)
class Union:
    """Axes that an operation aligns: what acts on one acts on the other.

    Attributes:
        source: The operation.
        pairs: Atoms aligned with each other, all by this operation.
        contracted: For each pair, whether it is summed over, so that the two transform oppositely.
    """

    source: Any
    pairs: tuple[tuple[int, int], ...]
    contracted: tuple[bool, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Restriction:
    """An atom that an operation does not let mix, or move at all.

    Attributes:
        source: The operation.
        atom: The atom.
        kind: `MIXING` (no linear mixing; permutations and rescalings may stay) or `PERMUTATION`
            (no permutation either).
    """

    source: Any
    atom: int
    kind: str


@dataclasses.dataclass(frozen=True, slots=True)
class Equation:
    """A combination of unknown arrays that must be 0.

    Attributes:
        source: The operation.
        row: Coefficients by unknown.
        sign: Whether it is about signs (modulo 2) or about rescalings and shifts.
    """

    source: Any
    row: Mapping[int, Any]
    sign: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """An atom that turns out to be several: the inference starts again with these.

    Attributes:
        atom: The atom.
        kind: "product" (the axis is read as rows and columns) or "cut" (it is cut into parts).
        sizes: Sizes of the factors or parts.
    """

    atom: int
    kind: str
    sizes: tuple[int, ...]


class Constraints:
    """The growing list of demands. It only grows, or returns to a mark."""

    def __init__(self) -> None:
        self.source: Any = None
        self.unions: list[Union] = []
        self.restrictions: list[Restriction] = []
        self.equations: list[Equation] = []
        self.seen: dict[tuple[int, ...], Any] = {}
        self.requests: dict[int, Request] = {}
        self._restricted: set[tuple[int, str]] = set()
        self._rows: set[Hashable] = set()

    def restrict(self, atom: int, kind: str) -> None:
        """Forbid mixing or permutation along an atom."""
        if (atom, kind) not in self._restricted:
            self._restricted.add((atom, kind))
            self.restrictions.append(Restriction(self.source, atom, kind))

    def unite(self, pairs: list[tuple[int, int]], contracted: list[bool]) -> None:
        """Align atoms."""
        if pairs:
            self.unions.append(Union(self.source, tuple(pairs), tuple(contracted)))

    def vanish(self, row: Mapping[int, Any], sign: bool) -> None:
        """Demand that a combination of unknowns is 0."""
        key = (sign, frozenset(row.items()))
        if row and key not in self._rows:
            self._rows.add(key)
            self.equations.append(Equation(self.source, dict(row), sign))

    def carry(self, atoms: tuple[int, ...]) -> None:
        """Note that a value carries atoms together."""
        self.seen.setdefault(atoms, self.source)

    def request(self, atom: int, kind: str, sizes: tuple[int, ...]) -> None:
        """Ask for an atom to be read as several."""
        self.requests.setdefault(atom, Request(atom, kind, sizes))

    def mark(self) -> Any:
        """Return where the list stands."""
        return (
            len(self.unions), len(self.restrictions), len(self.equations), len(self.seen),
            set(self._restricted), set(self._rows),
        )  # fmt: skip

    def return_to(self, mark: Any) -> None:
        """Forget what was demanded since a mark; requests stay."""
        unions, restrictions, equations, seen, restricted, rows = mark
        del self.unions[unions:], self.restrictions[restrictions:], self.equations[equations:]
        for atoms in list(self.seen)[seen:]:
            del self.seen[atoms]
        self._restricted, self._rows = restricted, rows
