"""Which line of the user's file united, restricted or fixed what."""

from __future__ import annotations

import dataclasses
from typing import Any

from symtheory.errors import InputError
from symtheory.program import location
from symtheory.symmetry.inference._classes import Solution
from symtheory.symmetry.inference._constraints import MIXING, PERMUTATION, Constraints
from symtheory.symmetry.inference._layout import Inputs, Place
from symtheory.symmetry.inference._linear import Bits, Rationals
from symtheory.symmetry.inference._result import Leaf, Path


@dataclasses.dataclass(frozen=True)
class Cause:
    """The operation that takes a kind of symmetry away.

    Attributes:
        kind: "mixing", "permutation", "rescaling", "sign" or "shift".
        operation: What it does: the primitive of JAX, such as "tanh" or "dot_general".
        location: Where it stands, "file.py:12"; empty where JAX does not know.
    """

    kind: str
    operation: str
    location: str

    def __str__(self) -> str:
        at = f" at {self.location}" if self.location else ""
        return f"{self.kind} is excluded by {self.operation}{at}"


@dataclasses.dataclass(frozen=True)
class AxisReport:
    """What acts on a factor of an axis of a parameter, and what takes the rest away.

    Attributes:
        leaf: The keys that lead to the parameter.
        block: Which part of it.
        axis: The axis.
        factor: Which factor of the axis.
        size: Its length.
        group: The group of its class.
        copies: How many copies of it.
        rescaled: Whether each entry along it may have its own positive factor.
        flipped: Whether each may have its own sign.
        shifted: Whether each may have its own shift.
        causes: What excludes the rest.
    """

    leaf: Path
    block: tuple[int, ...]
    axis: int
    factor: int
    size: int
    group: str
    copies: int
    rescaled: bool
    flipped: bool
    shifted: bool
    causes: tuple[Cause, ...]

    def __str__(self) -> str:
        name = "/".join(map(str, self.leaf)) or "the parameter"
        part = f", factor {self.factor}" if self.factor else ""
        block = f", block {self.block}" if self.block else ""
        acts = [] if self.group == "none" else [f"{self.group}({self.size})"]
        acts += ["rescalings"] * self.rescaled + ["signs"] * self.flipped
        acts += ["shifts"] * self.shifted
        what = ", ".join(acts) if acts else "fixed"
        why = "; ".join(map(str, self.causes))
        return f"axis {self.axis}{part} of {name}{block}: {what}" + (f" ({why})" if why else "")


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """The derivation: what every operation demanded, and what solved it.

    Attributes:
        log: The demands in the order of the program.
        given: The atoms and unknown arrays of the parameters.
        solution: Their solution.
        leaves: The parameters.
    """

    log: Constraints
    given: Inputs
    solution: Solution
    leaves: tuple[Leaf, ...]

    def explain(self, path: Path) -> list[AxisReport]:
        """Return a report for every factor of every axis of a parameter.

        Raises:
            InputError: There is no such parameter.
        """
        numbers = [k for k, leaf in enumerate(self.leaves) if leaf.path == path]
        if not numbers:
            known = ", ".join(repr(leaf.path) for leaf in self.leaves)
            raise InputError(f"there is no parameter {path!r}; the parameters are {known}")
        return [
            self._report(atom, place)
            for atom, place in self.given.places.items()
            if place.leaf == numbers[0]
        ]

    def _report(self, atom: int, place: Place) -> AxisReport:
        root = self.solution.root[atom]
        group = self.solution.groups[root]
        causes: list[Cause] = []
        for kind, lost in ((MIXING, not group.mixes), (PERMUTATION, not group.permutes)):
            if lost:
                found = next(
                    r for r in self.log.restrictions
                    if r.kind == kind and self.solution.root.get(r.atom) == root
                )  # fmt: skip
                causes.append(cause(kind, found.source))
        free = {}
        unknowns = [
            j for j, u in enumerate(self.given.unknowns)
            if u.leaf == place.leaf and u.block == place.block and atom in u.atoms
        ]  # fmt: skip
        for kind, names, sign in (
            ("rescaling", [2 * j for j in unknowns], False),
            ("sign", list(unknowns), True),
            ("shift", [2 * j + 1 for j in unknowns], False),
        ):
            system = self.solution.bits if sign else self.solution.rationals
            left = [k for k in names if not system.pinned(k)]
            free[kind] = bool(left)
            if not left and kind != "shift":
                causes.append(cause(kind, self._pinning(names[0], sign)))
        copies = 1
        for other in group.copies:
            copies *= self.solution.groups[other].size
        return AxisReport(
            self.leaves[place.leaf].path, place.block, place.axis, place.factor, group.size,
            group.kind, copies, free["rescaling"], free["sign"], free["shift"], tuple(causes),
        )  # fmt: skip

    def _pinning(self, unknown: int, sign: bool) -> Any:
        """Return the operation whose demand first forces an unknown to be 0."""
        system: Any = Bits() if sign else Rationals()
        for equation in self.log.equations:
            if equation.sign == sign:
                system.add(equation.row)
                if system.pinned(unknown):
                    return equation.source
        return None


def cause(kind: str, operation: Any) -> Cause:
    """Return a cause; without an operation it is that the result is the loss."""
    if operation is None:
        return Cause(kind, "the value of the loss", "")
    source = operation.source
    primitive = getattr(getattr(source, "primitive", None), "name", operation.name)
    return Cause(kind, primitive, location(source) if source is not None else "")
