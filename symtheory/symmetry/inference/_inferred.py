"""The answer of the inference."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax

from symtheory.symmetry.inference._actions import applied, generator_of, random_actions
from symtheory.symmetry.inference._explain import AxisReport, Evidence
from symtheory.symmetry.inference._generators import (
    Direction,
    GLPair,
    family_directions,
    gl_pairs,
    matrix_directions,
)
from symtheory.symmetry.inference._mirrors import Mirrors, mirrors
from symtheory.symmetry.inference._read_off import Reading, count
from symtheory.symmetry.inference._result import AxisClass, Counts, Family, Flips, Leaf, Path


@dataclasses.dataclass(frozen=True, eq=False)
class Inferred:
    """Symmetries of the value of a loss that act on whole axes of its parameters.

    Attributes:
        leaves: The parameters in the order of the flattened pytree.
        tree: The structure of the pytree.
        found: What was read off, with labels of the axes.
        differentiable: Whether the gradient that JAX takes is that of the value: the loss stops no
            gradient and brings no derivative rule of its own. Otherwise nothing follows for
            gradients, and for no optimizer.
        evidence: The derivation.
    """

    leaves: tuple[Leaf, ...]
    tree: Any
    found: Reading
    differentiable: bool
    evidence: Evidence

    @property
    def classes(self) -> tuple[AxisClass, ...]:
        """Classes of axes with their groups."""
        return self.found.classes

    @property
    def rescalings(self) -> tuple[Family, ...]:
        """Families of rescalings, diagonal matrices of GL classes among them."""
        return self.found.rescalings

    @property
    def shifts(self) -> tuple[Family, ...]:
        """Families with shifts."""
        return self.found.shifts

    @property
    def flips(self) -> tuple[Flips, ...]:
        """Families of signs."""
        return self.found.flips

    @functools.cached_property
    def counts(self) -> Counts:
        """Exact counts."""
        return count(self.found)

    def generators(self, symmetric: bool = False) -> Iterator[Direction]:
        """Yield a basis of the generators, one at a time, those with a shift last.

        Args:
            symmetric: Whether only a basis of the symmetric ones is wanted, and no shifts.
        """
        yield from family_directions(self.leaves, self.rescalings)
        yield from matrix_directions(self.leaves, self.found, symmetric)
        if not symmetric:
            yield from family_directions(self.leaves, self.shifts)

    def reflections(self) -> list[Mirrors]:
        """Return the kinds of reflections that the group contains, with their ranks."""
        return list(mirrors(self.leaves, self.found))

    def gl_pairs(self) -> list[GLPair]:
        """Return the axes between which invertible matrices may be moved, with their charges."""
        return gl_pairs(self.leaves, self.found)

    def random_element(self, key: jax.Array) -> Callable[[Any], Any]:
        """Return a random finite element of the whole inferred group, as a function of parameters.

        Its matrices are well conditioned, its factors between exp(-1) and exp(1). It takes and
        returns the pytree of parameters, and computes in double precision with NumPy.
        """
        actions = random_actions(self.leaves, self.found, generator_of(key))
        return lambda params: applied(self.leaves, actions, params)

    def explain(self, *path: Any) -> list[AxisReport]:
        """Return what acts on each axis of a parameter, and which lines take the rest away.

        Args:
            *path: The keys that lead to the parameter: `explain("blocks", 0, "W")`.

        Raises:
            InputError: There is no such parameter.
        """
        return self.evidence.explain(tuple(path))


__all__ = ["Inferred", "Path"]
