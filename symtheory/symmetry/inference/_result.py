"""What was inferred: classes of axes with their groups, rescalings, shifts, signs, and counts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from symtheory.errors import InputError
from symtheory.symmetry.inference._layout import Layout, blocks

Path = tuple[Any, ...]
"""Keys that lead to a leaf of the parameters, as `jax.tree_util` names them, unwrapped."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """A factor of an axis of a parameter.

    Attributes:
        leaf: The keys that lead to the parameter.
        axis: The axis.
        factor: Which factor of the axis, outermost first (0 if the axis is read as one).
        size: Its length.
        block: Which part of the parameter, where it is cut; empty if it is whole.
        orientation: 1 if a matrix M of the group acts on it as M, -1 if as the transposed inverse.
    """

    leaf: Path
    axis: int
    factor: int
    size: int
    block: tuple[int, ...]
    orientation: int = 1


@dataclasses.dataclass(frozen=True)
class AxisClass:
    """Axes on which one group acts, on all of them at once.

    Attributes:
        group: "GL" (all invertible matrices), "O" (orthogonal ones), "permutations", or "none".
        size: Length of the axes (of their product, where several factors move as one axis).
        copies: How many independent copies of the group there are, one for each index of `along`.
        along: Classes (by number) on whose index the group element may depend: heads, experts.
        axes: The axes; where `factors` > 1, each `factors` of them in a row are one axis.
        factors: How many factors make up one axis.
    """

    group: str
    size: int
    copies: int
    along: tuple[int, ...]
    axes: tuple[Axis, ...]
    factors: int = 1

    @property
    def generators(self) -> int:
        """Dimension of the group, all copies together."""
        n = self.size
        return self.copies * {"GL": n * n, "O": n * (n - 1) // 2}.get(self.group, 0)


@dataclasses.dataclass(frozen=True)
class Target:
    """A block of a parameter, and axes of it along which factors, shifts or signs vary.

    Attributes:
        leaf: The keys that lead to the parameter.
        block: Which part of it, where it is cut.
        axes: Pairs (axis, factor), one for each class in `along` of the family, in that order.
    """

    leaf: Path
    block: tuple[int, ...]
    axes: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class Family:
    """Rescalings and shifts by one array: theta -> exp(rate c) theta + coefficient c.

    Attributes:
        along: The classes (by number) that the array c has an axis for.
        sizes: The shape of c.
        count: How many independent ones there are beside the families along fewer classes:
            the product of (size - 1).
        rates: Rates of the factors by target.
        shifts: Coefficients of the shifts by target.
    """

    along: tuple[int, ...]
    sizes: tuple[int, ...]
    count: int
    rates: tuple[tuple[Target, Fraction], ...] = ()
    shifts: tuple[tuple[Target, Fraction], ...] = ()


@dataclasses.dataclass(frozen=True)
class Flips:
    """Signs by one array of -1 and 1, of which the targets are multiplied.

    Attributes:
        along: The classes (by number) that the array has an axis for.
        sizes: The shape of the array.
        count: How many independent ones there are beside those along fewer classes.
        targets: What changes its sign.
    """

    along: tuple[int, ...]
    sizes: tuple[int, ...]
    count: int
    targets: tuple[Target, ...]


@dataclasses.dataclass(frozen=True)
class Counts:
    """Exact counts of what was inferred.

    Attributes:
        total: Linear generators (rescalings, GL and O classes).
        symmetric: Those of them with a symmetric matrix, which carry charges.
        affine: Generators with a shift.
        swaps: Generators of the permutations: size - 1 for each copy of a permuted class.
        flips: Independent sign changes.
    """

    total: int
    symmetric: int
    affine: int
    swaps: int
    flips: int


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A parameter: its path, shape, how it is cut and where its entries stand among all."""

    path: Path
    shape: tuple[int, ...]
    layout: Layout
    start: int

    def block(self, number: tuple[int, ...]) -> Block:
        """Return a block of the parameter."""
        for block in self.blocks():
            if block.number == number:
                return block
        raise InputError(f"the parameter {self.path} has no block {number}")

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks of the parameter."""
        for number, piece, lines in blocks(self.layout):
            yield Block(self, number, piece.sizes, tuple(lines))


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """A block of a parameter as an array with one axis for every factor.

    Attributes:
        leaf: The parameter.
        number: Which block.
        sizes: Sizes of the factors of each axis.
        lines: Where its entries stand along each axis of the parameter.
    """

    leaf: Leaf
    number: tuple[int, ...]
    sizes: tuple[tuple[int, ...], ...]
    lines: tuple[np.ndarray, ...]

    @property
    def factors(self) -> list[tuple[int, int]]:
        """Pairs (axis, factor), in the order of the axes of `read`."""
        return [(a, f) for a, sizes in enumerate(self.sizes) for f in range(len(sizes))]

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the factors."""
        return tuple(n for sizes in self.sizes for n in sizes)

    def read(self, array: np.ndarray) -> np.ndarray:
        """Return the block of an array of the shape of the parameter."""
        if not self.number:
            return array.reshape(self.shape)
        return array[np.ix_(*self.lines)].reshape(self.shape)

    def write(self, array: np.ndarray, block: np.ndarray) -> None:
        """Put the block into an array of the shape of the parameter, in place."""
        inner = tuple(math.prod(sizes) for sizes in self.sizes)
        array[np.ix_(*self.lines)] = block.reshape(inner)

    def entries(self, at: dict[tuple[int, int], int]) -> np.ndarray:
        """Return the numbers, among all parameters, of the entries with some indices given.

        Only these are built, never all of the block.
        """
        shape, out = self.leaf.shape, np.asarray(self.leaf.start)
        for axis, sizes in enumerate(self.sizes):
            stride = math.prod(shape[axis + 1 :])
            line = self.lines[axis].reshape(sizes)
            chosen = line[tuple(at.get((axis, f), slice(None)) for f in range(len(sizes)))]
            out = np.add.outer(out, np.asarray(chosen) * stride)
        return out


def path_of(keys: Any) -> Path:
    """Return a path of `jax.tree_util` as plain keys.

    >>> import jax
    >>> path_of((jax.tree_util.DictKey("a.b"), jax.tree_util.SequenceKey(0)))
    ('a.b', 0)
    """
    out = []
    for key in keys:
        for name in ("key", "idx", "name"):
            if hasattr(key, name):
                out.append(getattr(key, name))
                break
        else:
            out.append(str(key))
    return tuple(out)
