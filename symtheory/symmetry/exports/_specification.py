"""The permutation specification: which axes of which parameters are permuted together."""

from __future__ import annotations

import dataclasses
from typing import Any

from symtheory.model import Model
from symtheory.program import Deadline
from symtheory.symmetry._loss import loss_of
from symtheory.symmetry.exports._explanation import (
    Explanation,
    along_text,
    class_names,
    part_names,
)
from symtheory.symmetry.inference import Axis, Inferred, infer_traced


@dataclasses.dataclass(frozen=True)
class PermutationClass:
    """Axes whose entries are permuted together, by the same permutation.

    Attributes:
        name: A short name, "P0", "P1", ...
        size: How many units are permuted.
        copies: How many independent permutations there are, one for each index of `along`.
        along: The classes (by name) on whose index the permutation may depend: heads, experts. An
            axis that is not permuted itself, such as that of stacked layers, is named by its size.
        axes: The axes; where `factors` > 1, each `factors` of them in a row are one axis.
        factors: How many factors make up one axis.
        number: The number of the class among all that were inferred.
    """

    name: str
    size: int
    copies: int
    along: tuple[str, ...]
    axes: tuple[Axis, ...]
    factors: int
    number: int


@dataclasses.dataclass(frozen=True, eq=False)
class PermutationSpecification:
    """All permutations of units under which a loss stays the same.

    Attributes:
        classes: The classes.
        names: Dotted names of the parameters by the keys that lead to them.
        inferred: What they were read off.
    """

    classes: tuple[PermutationClass, ...]
    names: dict[Any, str]
    inferred: Inferred = dataclasses.field(repr=False)

    @property
    def axes_to_perm(self) -> dict[str, tuple[Any, ...]]:
        """For each parameter, the class that permutes each of its axes, as git-re-basin writes it.

        An entry is the name of a class, or None where the axis is fixed. Where an axis is read as
        several factors (heads times units) it is a tuple with an entry for each. Where a parameter
        is cut into parts along an axis (queries, keys and values in one matrix), the axes of its
        parts are given under the names "W[0]", "W[1]", ...
        """
        out: dict[str, tuple[Any, ...]] = {}
        for name, axes in Explanation(self.inferred, self.names, ()).rows():
            entries = []
            for factors in axes:
                here = tuple(text or None for _, text in factors)
                entries.append(here if len(set(here)) > 1 else here[0] if here else None)
            out[name] = tuple(entries)
        return out

    @property
    def perm_to_axes(self) -> dict[str, list[tuple[str, int]]]:
        """The pairs (parameter, axis) that each class permutes, as git-re-basin writes it."""
        parts = part_names(self.inferred, self.names)
        out: dict[str, list[tuple[str, int]]] = {c.name: [] for c in self.classes}
        for c in self.classes:
            for axis in c.axes[:: c.factors]:
                out[c.name].append((parts[axis.leaf, axis.block], axis.axis))
        return out

    def to_json(self) -> dict[str, Any]:
        """Return the specification as JSON-ready data."""
        listed = lambda x: [listed(y) for y in x] if isinstance(x, tuple) else x
        return {
            "classes": [
                {"name": c.name, "size": c.size, "copies": c.copies, "along": list(c.along)}
                for c in self.classes
            ],
            "axes_to_perm": {name: listed(axes) for name, axes in self.axes_to_perm.items()},
        }

    def __str__(self) -> str:
        lines = []
        for c in self.classes:
            copies = f", {c.copies} copies along {', '.join(c.along)}" if c.copies > 1 else ""
            axes = ", ".join(f"{name or 'theta'} axis {k}" for name, k in self.perm_to_axes[c.name])
            lines.append(f"{c.name}: {c.size} units{copies}: {axes}")
        return "\n".join(lines) or "no axis is permuted"


def permutation_specification(
    model: Model, *, seconds: float | None = None
) -> PermutationSpecification:
    """Return which axes of which parameters are permuted together, for merging trained networks.

    Read off the program of the loss, so that residual streams, several readers, heads (permuted as
    blocks, with their units permuted within), convolutions and tied weights come out as they are.

    Args:
        model: A model with all sizes bound.
        seconds: Time limit.

    Raises:
        InputError: A size is not bound.
        UnreadableError: The loss cannot be lowered; says where.
        BudgetError: The time limit was reached.

    Source: arXiv 2209.04836 (git re-basin), section 3.

    >>> from symtheory.data import Normal
    >>> import jax.numpy as jnp
    >>> model = Model(lambda p, z: jnp.sum((p["U"] @ jnp.tanh(p["W"] @ z["x"]) - z["y"]) ** 2),
    ...               {"U": (2, 5), "W": (5, 3)}, random={"x": Normal(3), "y": Normal(2)})
    >>> permutation_specification(model).axes_to_perm
    {'U': (None, 'P0'), 'W': ('P0', None)}
    """
    loss = loss_of(model)
    inferred = infer_traced(loss.closed, loss.inputs[0], Deadline(seconds), loss.program)
    return specification_of(model, inferred)


def specification_of(model: Model, inferred: Inferred) -> PermutationSpecification:
    """Return the specification of what was inferred; every GL and O class holds permutations."""
    names = class_names(inferred)
    classes = []
    for k, name in names.items():
        c = inferred.classes[k]
        along = along_text(inferred, c.along, names)
        classes.append(PermutationClass(name, c.size, c.copies, along, c.axes, c.factors, k))
    paths = [leaf.path for leaf in inferred.leaves]
    leaves = dict(zip(paths, model.leaves, strict=True))
    return PermutationSpecification(tuple(classes), leaves, inferred)
