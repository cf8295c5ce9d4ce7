"""Read classes, families and counts off the solution of the demands."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from symtheory.symmetry.inference._classes import Solution, fused
from symtheory.symmetry.inference._layout import Inputs
from symtheory.symmetry.inference._result import (
    Axis,
    AxisClass,
    Counts,
    Family,
    Flips,
    Leaf,
    Target,
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """What was read off, with what is needed to act on parameters.

    Attributes:
        classes: The classes.
        rescalings: Families of rescalings.
        shifts: Families with shifts.
        flips: Families of signs.
        members: For each class, the numbers of its factors in `labels`.
        along: For each class, the labels on whose index it may depend.
        labels: The label of each axis, by leaf, block, axis and factor.
    """

    classes: tuple[AxisClass, ...]
    rescalings: tuple[Family, ...]
    shifts: tuple[Family, ...]
    flips: tuple[Flips, ...]
    members: tuple[tuple[int, ...], ...]
    along: tuple[tuple[int, ...], ...]
    labels: dict[tuple[Any, tuple[int, ...], int, int], int]


def read_off(given: Inputs, solution: Solution, leaves: Sequence[Leaf]) -> Reading:
    """Return the classes, rescalings, shifts and signs."""
    groups = solution.groups
    together = fused(groups)
    hosts = {member: host for host, members in together.items() for member in members}
    order = [root for root in groups if hosts.get(root, root) == root]
    number = {root: k for k, root in enumerate(order)}
    index = {root: number[hosts.get(root, root)] for root in groups}
    classes = []
    all_members, all_along = [], []
    for root in order:
        members = together.get(root, (root,))
        along = sorted(set.intersection(*(groups[m].copies for m in members)) - set(members))
        all_members.append(tuple(members))
        all_along.append(tuple(along))
        axes: list[Axis] = []
        for atom in _by_place(given, groups, members):
            place, orientation = given.places[atom], groups[solution.root[atom]].atoms[atom]
            size = groups[solution.root[atom]].size
            path = leaves[place.leaf].path
            axes.append(Axis(path, place.axis, place.factor, size, place.block, orientation))
        classes.append(
            AxisClass(
                groups[root].kind,
                math.prod(groups[m].size for m in members),
                math.prod(groups[a].size for a in along),
                tuple(sorted({index[a] for a in along})),
                tuple(axes),
                len(members),
            )
        )
    rescalings, shifts = _continuous(given, solution, leaves, index)
    flips = []
    for family in solution.signs:
        sizes = tuple(groups[r].size for r in family.along)
        along = tuple(index[r] for r in family.along)
        for row in family.basis:
            targets = tuple(_target(given, solution, leaves, j, family.along) for j in row)
            flips.append(Flips(along, sizes, family.size, targets))
    labels = {
        (leaves[p.leaf].path, p.block, p.axis, p.factor): solution.root[atom]
        for atom, p in given.places.items()
    }
    return Reading(
        tuple(classes), tuple(rescalings), tuple(shifts), tuple(flips),
        tuple(all_members), tuple(all_along), labels,
    )  # fmt: skip


def _by_place(given: Inputs, groups: Any, members: Sequence[int]) -> list[int]:
    """Return atoms such that those of one axis of a fused class follow each other."""
    if len(members) == 1:
        atoms = list(groups[members[0]].atoms)
        return sorted(atoms, key=lambda a: (given.places[a].leaf, a))
    out: list[int] = []
    by_block: dict[tuple[int, tuple[int, ...]], dict[int, int]] = {}
    for k, member in enumerate(members):
        for atom in groups[member].atoms:
            place = given.places[atom]
            by_block.setdefault((place.leaf, place.block), {})[k] = atom
    for row in by_block.values():
        out += [row[k] for k in sorted(row)]
    return out


def _target(
    given: Inputs, solution: Solution, leaves: Sequence[Leaf], j: int, along: Sequence[int]
) -> Target:
    unknown = given.unknowns[j]
    by_class = {solution.root[a]: given.places[a] for a in unknown.atoms}
    places = [by_class[r] for r in along]
    return Target(
        leaves[unknown.leaf].path, unknown.block, tuple((p.axis, p.factor) for p in places)
    )


def _continuous(
    given: Inputs, solution: Solution, leaves: Sequence[Leaf], index: dict[int, int]
) -> tuple[list[Family], list[Family]]:
    rescalings: list[Family] = []
    shifts: list[Family] = []
    for family in solution.continuous:
        sizes = tuple(solution.groups[r].size for r in family.along)
        for row in family.basis:
            parts: tuple[list[Any], list[Any]] = ([], [])
            for k, c in sorted(row.items()):
                target = _target(given, solution, leaves, k // 2, family.along)
                parts[k % 2].append((target, Fraction(c)))
            along = tuple(index[r] for r in family.along)
            out = Family(along, sizes, family.size, tuple(parts[0]), tuple(parts[1]))
            (shifts if parts[1] else rescalings).append(out)
    return rescalings, shifts


def count(found: Reading) -> Counts:
    """Count generators. Diagonal matrices of GL classes are among the rescalings."""
    total = symmetric = sum(family.count for family in found.rescalings)
    swaps = 0
    for c in found.classes:
        n = c.size
        if c.group == "GL":
            total += c.copies * (n * n - n)
            symmetric += c.copies * (n * n - n) // 2
        elif c.group == "O":
            total += c.generators
        elif c.group == "permutations":
            swaps += c.copies * (n - 1)
    shifts, flips = sum(f.count for f in found.shifts), sum(f.count for f in found.flips)
    return Counts(total, symmetric, shifts, swaps, flips)
