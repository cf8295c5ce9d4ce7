"""What a search for symmetries returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory.model import Model
from symtheory.symmetry import exports
from symtheory.symmetry._families import Vector
from symtheory.symmetry._symmetry import Affine, Exponential
from symtheory.symmetry.discovery._names import Kind, Layout, family_names, latex, touched
from symtheory.symmetry.discovery._proof import Field
from symtheory.symmetry.discovery._structure import Structure
from symtheory.symmetry.exports import Approximate, ParameterTable, PermutationSpecification
from symtheory.symmetry.inference import AxisReport
from symtheory.verdict import Status, Verdict

_LISTED = 200
"""Generators written out in JSON; families always list all."""


@dataclasses.dataclass(frozen=True)
class Found:
    """One generator theta -> A theta + b.

    Attributes:
        name: The family it belongs to, such as "per-neuron rescaling between U axis 1 and W".
        matrix: Entries of A that are not zero, by (row, column) of the flattened parameters.
        shift: Entries of b that are not zero, by row.
        leaves: The parameters it moves.
        latex: It, as a vector field.
        verdict: Whether it is proved.
        symmetry: It, for `verify` and `derive`.
    """

    name: str
    matrix: Mapping[tuple[int, int], Fraction]
    shift: Mapping[int, Fraction]
    leaves: tuple[str, ...]
    latex: str
    verdict: Verdict
    symmetry: Exponential = dataclasses.field(repr=False)

    @property
    def is_symmetric(self) -> bool:
        """Whether A = A^T and b = 0."""
        return not self.shift and all(
            self.matrix.get((j, i)) == value for (i, j), value in self.matrix.items()
        )

    def to_json(self) -> dict[str, Any]:
        """Return the generator as JSON-ready data."""
        out: dict[str, Any] = {
            "name": self.name,
            "leaves": list(self.leaves),
            "latex": self.latex,
            "status": str(self.verdict.status),
            "how": self.verdict.how,
        }
        out["matrix"] = [[i, j, str(value)] for (i, j), value in self.matrix.items()][:_LISTED]
        if self.shift:
            out["shift"] = [[i, str(value)] for i, value in self.shift.items()][:_LISTED]
        return out


@dataclasses.dataclass(frozen=True)
class Group:
    """Generators of one kind, such as all rescalings of the neurons between two layers.

    Attributes:
        name: What they are called.
        count: How many there are.
        symmetric: How many independent symmetric matrices they span.
        leaves: The parameters they move.
        status: The worst status among them.
        how: How that was established.
        proved: How many are proved.
        affine: Whether they have a constant part.
        hidden: For a GL(h) on a whole hidden space found by axes: (leaf, index of the head or None,
            axis, +1 for the left factors U -> U g or -1 for the right ones W -> g^-1 W).
        verdict: That all of them are symmetries, where they were found as a group.
    """

    name: str
    count: int
    symmetric: int
    leaves: tuple[str, ...]
    status: Status
    how: str = ""
    proved: int = 0
    affine: bool = False
    hidden: tuple[tuple[str, int | None, int, int], ...] = ()
    verdict: Verdict | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the group as JSON-ready data."""
        return {
            "name": self.name, "count": self.count, "symmetric": self.symmetric,
            "leaves": list(self.leaves), "status": str(self.status), "proved": self.proved,
            "how": self.how, "affine": self.affine,
        }  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Discovery:
    """The linear and affine symmetries of a loss.

    Attributes:
        model: The model searched.
        generators: A basis of the linear generators found (for large models, see `groups`).
        translations: What affine generators add: fields with a constant part.
        groups: The generators by family.
        total: Dimension of the space of linear generators found.
        symmetric: Dimension of its symmetric part.
        affine: Dimension of the space of linear and affine generators.
        completeness: Whether there are no others (of the kind `scope` says).
        scope: What was searched.
        gap: Spectral gap: smallest singular value kept, largest dropped, both relative.
        trivial: Leaves (or parts of leaves) on which the loss does not depend, with verdicts.
        structure: The Lie algebra; None where it was not computed.
        seconds: Time taken.
        charges: Independent charges of the proved symmetries, at least; None where only
            `conservation_laws` counts them.
        approximate: What would be a symmetry without small constants, if `ignore_below` was given.
    """

    model: Model
    generators: tuple[Found, ...]
    translations: tuple[Found, ...]
    groups: tuple[Group, ...]
    total: int
    symmetric: int
    affine: int
    completeness: Verdict
    scope: str
    gap: Mapping[str, Any]
    trivial: Mapping[str, Verdict]
    structure: Structure | None
    seconds: float
    charges: int | None = None
    approximate: Approximate | None = None

    @property
    def status(self) -> Status:
        """`proved` when every generator is proved and so is that there are no others."""
        return self.completeness.status

    def family(self, *, symmetric: bool = True) -> Exponential | None:
        """Return all (symmetric) linear generators as one family, None if there is none.

        Args:
            symmetric: Only symmetric matrices, which carry charges.
        """
        fields = [Field(dict(g.matrix)) for g in self.generators]
        if symmetric:
            fields = self.structure.symmetric if self.structure else []
        if not fields:
            return None
        one = "the generator found" if len(fields) == 1 else f"the {len(fields)} generators found"
        return Exponential(_action(fields, self.model), family={"a": Vector(len(fields))}, name=one)

    def parameter_table(self) -> ParameterTable:
        """Return what the scale of each parameter does to the loss; see `parameter_table`."""
        limit = None if self.approximate is None else self.approximate.ignore_below
        return exports.parameter_table(self.model, ignore_below=limit)

    def permutation_specification(self) -> PermutationSpecification:
        """Return which axes are permuted together; see `permutation_specification`."""
        return exports.permutation_specification(self.model)

    def explain(self, name: str | None = None) -> list[AxisReport]:
        """Return what acts on each axis of a parameter (of all), and what excludes the rest.

        Args:
            name: The dotted name of a parameter.

        Raises:
            InputError: There is no such parameter.
        """
        return exports.explain(self.model).axes(name)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-ready data."""
        out: dict[str, Any] = {
            "generators": {
                "total": self.total,
                "symmetric": self.symmetric,
                "affine": self.affine,
                "status": str(self.status),
                "completeness": self.completeness.to_json(),
                "scope": self.scope,
                "groups": [group.to_json() for group in self.groups],
                "basis": [found.to_json() for found in self.generators[:_LISTED]],
                "translations": [found.to_json() for found in self.translations[:_LISTED]],
                "omitted": max(len(self.generators) - _LISTED, 0),
            },
            "gap": dict(self.gap),
            "trivial": {name: verdict.to_json() for name, verdict in self.trivial.items()},
            "seconds": self.seconds,
        }
        if self.approximate is not None:
            out["approximate"] = self.approximate.to_json()
        if self.structure is not None:
            centre = self.structure.centre
            out["algebra"] = {
                "closure": self.structure.closure.to_json(),
                "symmetric": len(self.structure.symmetric),
                "antisymmetric": len(self.structure.antisymmetric),
                "centre": None if centre is None else len(centre),
            }
        return out


def layout_of(model: Model) -> Layout:
    """Return where a bound model's parameters stand."""
    return Layout({name: tuple(int(n) for n in s) for name, s in model.leaves.items()})


def describe(
    model: Model, fields: Sequence[Field], kinds: Sequence[Kind], verdicts: Sequence[Verdict]
) -> tuple[Found, ...]:
    """Return fields with their names, LaTeX and actions, ordered by family."""
    layout = layout_of(model)
    names = family_names(kinds, layout)
    found = [
        Found(
            name,
            field.matrix,
            field.shift,
            touched(field, layout),
            latex(field, layout),
            verdict,
            _symmetry(field, model, name),
        )
        for field, verdict, name in zip(fields, verdicts, names, strict=True)
    ]
    order = {name: k for k, name in enumerate(dict.fromkeys(names))}
    return tuple(sorted(found, key=lambda item: order[item.name]))


def _symmetry(field: Field, model: Model, name: str) -> Exponential:
    family = _action([field], model)
    action = lambda params: family(params, jnp.ones(1))
    return Affine(action, name=name) if field.shift else Exponential(action, name=name)


def _action(fields: Sequence[Field], model: Model) -> Any:
    """Return (params, a) -> sum_k a_k (A_k theta + b_k)."""
    places = [(k, i, j, v) for k, f in enumerate(fields) for (i, j), v in f.matrix.items()]
    shifts = [(k, i, v) for k, f in enumerate(fields) for i, v in f.shift.items()]
    layout = layout_of(model)
    starts, shapes = layout.starts, layout.shapes

    def action(params: Any, a: Any) -> Any:
        leaves, tree = jax.tree.flatten(params)
        flat = jnp.concatenate([jnp.reshape(leaf, -1) for leaf in leaves])
        out = jnp.zeros_like(flat)
        if places:
            k, i, j = (np.array([row[n] for row in places]) for n in range(3))
            values = np.array([float(row[3]) for row in places])
            out = out.at[i].add(values * a[k] * flat[j])
        if shifts:
            k, i = (np.array([row[n] for row in shifts]) for n in range(2))
            out = out.at[i].add(np.array([float(row[2]) for row in shifts]) * a[k])
        parts = [
            jnp.reshape(out[start : start + int(np.prod(shapes[name], dtype=int))], shapes[name])
            for name, start in starts.items()
        ]
        return jax.tree.unflatten(tree, parts)

    return action
