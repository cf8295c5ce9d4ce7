"""Solve the demands: classes of axes that move together, and the null spaces of the unknowns."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from symtheory.symmetry.inference._constraints import MIXING, Constraints
from symtheory.symmetry.inference._layout import Inputs
from symtheory.symmetry.inference._linear import Bits, Rationals


@dataclasses.dataclass
class Group:
    """A class while it is being worked out.

    Attributes:
        atoms: Its atoms, with orientation 1 or -1.
        size: Length of its axes.
        opposed: Whether some axis would have to transform oppositely to itself, so that only
            orthogonal matrices are left.
        mixes: Whether linear combinations are symmetries.
        permutes: Whether permutations are.
        copies: Classes on whose index it may depend.
    """

    atoms: dict[int, int]
    size: int
    opposed: bool = False
    mixes: bool = True
    permutes: bool = True
    copies: set[int] = dataclasses.field(default_factory=set)

    @property
    def kind(self) -> str:
        """ "GL", "O", "permutations" or "none"."""
        if self.mixes:
            return "O" if self.opposed else "GL"
        return "permutations" if self.permutes else "none"


class Classes:
    """Atoms united by what the program aligns, with an orientation."""

    def __init__(self, atoms: int) -> None:
        self._parent = list(range(atoms))
        self._flip = [0] * atoms
        self.opposed: set[int] = set()

    def find(self, atom: int) -> tuple[int, int]:
        """Return the representative of an atom, and whether it is opposite to it."""
        path, flip = [], 0
        while self._parent[atom] != atom:
            path.append(atom)
            atom = self._parent[atom]
        for node in reversed(path):
            flip ^= self._flip[node]
            self._parent[node], self._flip[node] = atom, flip
        return atom, flip

    def unite(self, a: int, b: int, opposite: bool) -> None:
        """Unite two atoms."""
        (a, p), (b, q) = self.find(a), self.find(b)
        flip = p ^ q ^ opposite
        if a == b:
            if flip:
                self.opposed.add(a)
            return
        self._parent[a], self._flip[a] = b, flip
        if a in self.opposed:
            self.opposed.add(b)


def classes(log: Constraints, atoms: int, sizes: dict[int, int]) -> dict[int, Group]:
    """Return the classes by representative, with the classes they may have copies along."""
    united = Classes(atoms)
    for union in log.unions:
        for (a, b), opposite in zip(union.pairs, union.contracted, strict=True):
            united.unite(a, b, opposite)
    groups: dict[int, Group] = {}
    for atom, size in sizes.items():
        root, flip = united.find(atom)
        group = groups.setdefault(root, Group({}, size))
        group.atoms[atom] = -1 if flip else 1
    for root in united.opposed:
        if united.find(root)[0] in groups:
            groups[united.find(root)[0]].opposed = True
    for restriction in log.restrictions:
        group = groups.get(united.find(restriction.atom)[0])
        if group is not None:
            group.mixes = False
            group.permutes = group.permutes and restriction.kind == MIXING
    _find_copies(log, united, groups)
    return groups


def _find_copies(log: Constraints, united: Classes, groups: dict[int, Group]) -> None:
    """A class may depend on the index of another where every value that carries it carries one
    axis of the other, and every operation that aligns two of its axes aligns the other's too.
    """
    possible: dict[int, set[int] | None] = dict.fromkeys(groups)
    for atoms in log.seen:
        roots = [united.find(atom)[0] for atom in atoms]
        once = {root for root in roots if roots.count(root) == 1}
        for root in set(roots):
            others = once - {root}
            have = possible.get(root)
            possible[root] = others if have is None else have & others
    for union in log.unions:
        pairs = [(united.find(a)[0], united.find(b)[0]) for a, b in union.pairs]
        together = {a for a, _ in pairs}
        for a in together:
            have = possible.get(a)
            if have:
                possible[a] = have & (together - {a})
    for root, group in groups.items():
        group.copies = {other for other in possible[root] or () if other in groups}


def fused(groups: dict[int, Group]) -> dict[int, tuple[int, ...]]:
    """Return which classes are one class in truth, by a representative.

    Two classes that always occur together, aligned alike, are rows and columns of one axis.
    """
    out: dict[int, tuple[int, ...]] = {}
    taken: set[int] = set()
    for root, group in groups.items():
        if root in taken or group.kind == "none":
            continue
        members = [root]
        for other in sorted(group.copies):
            twin = groups[other]
            if other in taken or twin.kind != group.kind:
                continue
            if all(a in groups[b].copies for a in members for b in [other]) and all(
                b in groups[a].copies for a in members for b in [other]
            ):
                members.append(other)
        if len(members) > 1:
            out[root] = tuple(members)
            taken.update(members)
    return out


@dataclasses.dataclass(frozen=True)
class Family:
    """Solutions in unknown arrays that vary along the same classes.

    Attributes:
        along: The classes, one for each index of the arrays.
        size: How many independent arrays of that kind there are beside those along fewer classes:
            the product of (length - 1).
        basis: Coefficients by unknown; each row may be multiplied by any array along the classes.
    """

    along: tuple[int, ...]
    size: int
    basis: tuple[dict[int, Any], ...]


@dataclasses.dataclass
class Solution:
    """Classes, and families of rescalings and shifts, and of signs."""

    groups: dict[int, Group]
    root: dict[int, int]
    continuous: list[Family]
    signs: list[Family]
    rationals: Rationals
    bits: Bits


def solve(log: Constraints, given: Inputs, atoms: int) -> Solution:
    """Solve all demands exactly."""
    groups = classes(log, atoms, given.sizes)
    root = {atom: r for r, group in groups.items() for atom in group.atoms}
    rational, binary = Rationals(), Bits()
    for j, unknown in enumerate(given.unknowns):
        if len({root[a] for a in unknown.atoms}) < len(unknown.atoms):
            # Two of its axes are of one class, so that it may meet itself transposed.
            rational.add({2 * j: 1})
            rational.add({2 * j + 1: 1})
            binary.add([j])
    for equation in log.equations:
        if equation.sign:
            binary.add(equation.row)
        else:
            rational.add(equation.row)
    by_kind: dict[tuple[int, ...], list[int]] = {}
    for j, unknown in enumerate(given.unknowns):
        along = tuple(sorted(root[a] for a in unknown.atoms))
        by_kind.setdefault(along, []).append(j)
    continuous: list[Family] = []
    signs: list[Family] = []
    for along, names in by_kind.items():
        size = math.prod(groups[r].size - 1 for r in along)
        if not size:
            continue
        rows = linear_first(rational.null([k for j in names for k in (2 * j, 2 * j + 1)]))
        if rows:
            continuous.append(Family(along, size, tuple(rows)))
        flips = binary.null(names)
        if flips:
            signs.append(Family(along, size, tuple(dict.fromkeys(row, 1) for row in flips)))
    return Solution(groups, root, continuous, signs, rational, binary)


def linear_first(basis: Sequence[dict[int, Any]]) -> list[dict[int, Any]]:
    """Return a basis in which as many rows as possible have no shift."""
    out: list[dict[int, Any]] = []
    pivots: dict[int, dict[int, Any]] = {}
    for row in basis:
        row = dict(row)
        while True:
            pivot = next((k for k in row if k in pivots), None)
            if pivot is None:
                break
            factor = Fraction(row[pivot]) / pivots[pivot][pivot]
            for k, c in pivots[pivot].items():
                value = row.get(k, 0) - factor * c
                if value:
                    row[k] = value
                else:
                    row.pop(k, None)
        moved = next((k for k in row if k % 2), None)
        if moved is None:
            out.append(row)
        else:
            pivots[moved] = row
    return out + list(pivots.values())


def joined(solutions: Sequence[Solution]) -> Solution:
    """Return the first solution with what others have besides: each is a symmetry by itself."""
    first = solutions[0]
    by_kind = {family.along: family for family in first.continuous}
    for other in solutions[1:]:
        for family in other.continuous:
            have = by_kind.get(family.along)
            rows = list(have.basis) if have else []
            span = Rationals(rows)
            rows += [row for row in family.basis if span.add(row)]
            by_kind[family.along] = Family(family.along, family.size, tuple(rows))
    return dataclasses.replace(first, continuous=list(by_kind.values()))


__all__ = ["Classes", "Family", "Group", "Solution", "classes", "fused", "joined", "solve"]
