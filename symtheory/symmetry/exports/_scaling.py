"""How a loss changes when one of its parameters is multiplied by a positive number."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from symtheory.domains._degrees import DEGREE
from symtheory.program import NO_DEADLINE, Deadline, Program
from symtheory.symmetry._loss import Loss
from symtheory.symmetry._proof import degree_of
from symtheory.symmetry.inference import Inferred, Transformations
from symtheory.symmetry.inference._layout import Inputs, inputs
from symtheory.symmetry.inference._values import FIXED, INVARIANT, ZERO, Plain

_LARGEST = 1_000_000
"""Parameters up to which every entry's own degree is followed, where axes say nothing."""


@dataclasses.dataclass(frozen=True)
class Scaling:
    """What the program says of one parameter.

    Attributes:
        degree: k, if multiplying it by c > 0 multiplies the loss by c^k; None if no rule says so.
        slices: Sets of axes such that every slice at fixed indices along them may have its own
            factor, and the loss stays the same; the largest ones only.
        has_influence: Whether the loss can depend on it at all.
        how: Which rules said so.
    """

    degree: Fraction | None
    slices: tuple[tuple[int, ...], ...]
    has_influence: bool
    how: str


def scalings(
    loss: Loss, inferred: Inferred, program: Program, deadline: Deadline = NO_DEADLINE
) -> list[Scaling]:
    """Return what a program says of each parameter, in the order of the flattened parameters.

    Multiplying parameter W by exp(t) is one direction in the unknowns of the inference. It obeys
    the demands of every operation or it does not; where it does, the loss's own exponent along
    that direction is its degree. Where it does not, the degrees of all entries are followed.

    Args:
        loss: The loss, of which `program` may be a changed version.
        inferred: What was inferred of the program.
        program: The program: parameters first, then everything else the loss reads.
        deadline: A time limit.
    """
    shapes = [tuple(int(n) for n in v.aval.shape) for v in loss.closed.jaxpr.invars]
    others = shapes[len(inferred.leaves) :]

    def read(unused: frozenset[int] = frozenset()) -> list[_Reading]:
        one = _Reading(program, inferred, others, None, unused, deadline)
        if not one.domain.blocked:
            return [one]
        rest = [_Reading(program, inferred, others, k, unused, deadline) for k in (0, 1)]
        return [one, *rest]

    readings = read()
    numbers = range(len(inferred.leaves))
    unused = frozenset(n for n in numbers if any(r.is_unused(n) for r in readings))
    if unused:  # what has no influence may as well be 0, which stands against no factor
        readings += read(unused)
    out = []
    for number in numbers:
        if number in unused:
            every = tuple(range(len(inferred.leaves[number].shape)))
            how = "every entry may be shifted by itself: it has no influence"
            out.append(Scaling(Fraction(0), (every,) if every else (), False, how))
            continue
        degree = next((d for r in readings if (d := r.degree(number)) is not None), None)
        how = "the demands of every operation hold for a factor of the whole parameter"
        if degree is None and program is loss.program:
            degree = _entrywise(loss, inferred, number, deadline)
            how = "the degrees of homogeneity of all intermediate entries agree"
        slices = max((r.slices(number) for r in readings), key=len)
        out.append(Scaling(degree, slices, True, how if degree is not None else ""))
    return out


class _Reading:
    """One reading of the program, up to its loss, which is not yet asked to stay the same."""

    def __init__(
        self, program: Program, inferred: Inferred, others: Sequence[tuple[int, ...]],
        moving: int | None, unused: frozenset[int], deadline: Deadline,
    ) -> None:  # fmt: skip
        self.domain = Transformations(moving)
        self.given: Inputs = inputs(self.domain, [leaf.layout for leaf in inferred.leaves])
        data = [
            Plain(tuple(self.domain.axis(n, FIXED) for n in shape), INVARIANT, (), True)
            for shape in others
        ]
        params = [
            self.domain.filled(inferred.leaves[k].shape, ZERO) if k in unused else value
            for k, value in enumerate(self.given.values)
        ]
        [loss] = self.domain.run(program, [*params, *data], deadline)
        self.terms = self.domain.merged(self.domain.lift(loss)).terms
        self.rows = [e.row for e in self.domain.log.equations if not e.sign]
        self.root = inferred.evidence.solution.root

    def _unknowns(self, leaf: int, atoms: int | None) -> list[int]:
        return [
            j for j, u in enumerate(self.given.unknowns)
            if u.leaf == leaf and (atoms is None or len(u.atoms) == atoms)
        ]  # fmt: skip

    def degree(self, leaf: int) -> Fraction | None:
        """Return the degree of the loss in a parameter, None where a demand excludes it."""
        scales = [2 * j for j in self._unknowns(leaf, 0)]
        if any(sum(row.get(k, 0) for k in scales) for row in self.rows):
            return None
        if any(k in row for row in self.terms.shift.values() for k in scales):
            return None  # the loss gains a constant
        total = Fraction(0)
        for (slots, chain), row in self.terms.scale.items():
            amount = sum((Fraction(row.get(k, 0)) for k in scales), Fraction(0))
            if amount and (slots or chain):
                return None
            total += amount
        return total

    def _is_free(self, unknown: int) -> bool:
        parts = (*self.terms.scale.values(), *self.terms.shift.values())
        return not any(unknown in row for row in (*self.rows, *parts))

    def is_unused(self, leaf: int) -> bool:
        """Tell whether every entry may be shifted on its own, so that none has any influence."""
        return all(self._is_free(2 * j + 1) for j in self._unknowns(leaf, None))

    def slices(self, leaf: int) -> tuple[tuple[int, ...], ...]:
        """Return the largest sets of axes along which every slice may have its own factor."""
        unknowns = [self.given.unknowns[j] for j in self._unknowns(leaf, None)]
        if any(u.block for u in unknowns):
            return ()
        free = {
            frozenset(u.atoms) for j, u in zip(self._unknowns(leaf, None), unknowns, strict=True)
            if self._is_free(2 * j)
        }  # fmt: skip
        by_axis: dict[int, set[int]] = {}
        for atom, place in self.given.places.items():
            if place.leaf == leaf:
                by_axis.setdefault(place.axis, set()).add(atom)
        found: list[tuple[int, ...]] = []
        for count in range(len(by_axis), 0, -1):
            for axes in itertools.combinations(sorted(by_axis), count):
                atoms = set().union(*(by_axis[axis] for axis in axes))
                if any(set(axes) <= set(have) for have in found):
                    continue
                if len({self.root[a] for a in atoms}) < len(atoms):
                    continue  # two axes of one class: the parameter may meet itself transposed
                if all(
                    frozenset(some) in free
                    for n in range(len(atoms) + 1)
                    for some in itertools.combinations(atoms, n)
                ):
                    found.append(axes)
        return tuple(found)


def _entrywise(
    loss: Loss, inferred: Inferred, number: int, deadline: Deadline
) -> Fraction | None:  # fmt: skip
    sizes = [math.prod(leaf.shape) for leaf in inferred.leaves]
    if sum(sizes) > _LARGEST:
        return None
    degrees = np.repeat([DEGREE if k == number else 0 for k in range(len(sizes))], sizes)
    found = degree_of(loss, degrees.astype(np.int64), None, deadline)
    return None if found is None else Fraction(found, DEGREE)
