"""How the axes of a parameter are read: as products of atoms, or cut into blocks."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from symtheory.symmetry.inference._constraints import Request
from symtheory.symmetry.inference._transformations import Transformations
from symtheory.symmetry.inference._values import ATOM, FINITE, Blocks, Plain, Slots, Terms, Value

_MOST_SLOTS = 7
"""Slots of a piece up to which unknown arrays along all subsets of them are looked for."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """A block of a parameter: the sizes of the atoms of each axis (none for an axis of size 1)."""

    sizes: tuple[tuple[int, ...], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return tuple(math.prod(axis) for axis in self.sizes)


@dataclasses.dataclass(frozen=True)
class Cut:
    """A parameter cut along an axis read as (outer, rest); see `Blocks`."""

    axis: int
    outer: int
    parts: tuple[Layout, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        shape = list(self.parts[0].shape)
        shape[self.axis] = sum(part.shape[self.axis] for part in self.parts)
        return tuple(shape)


Layout = Piece | Cut


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an atom stands.

    Attributes:
        leaf: The number of the parameter.
        block: Which part of each cut, outermost first; empty if the parameter is whole.
        axis: The axis.
        factor: Which factor of the axis, counted from the outermost.
    """

    leaf: int
    block: tuple[int, ...]
    axis: int
    factor: int


@dataclasses.dataclass(frozen=True)
class Unknown:
    """An unknown array that multiplies or shifts a block of a parameter.

    Attributes:
        leaf: The number of the parameter.
        block: Which block of it.
        atoms: The atoms along which it varies.
    """

    leaf: int
    block: tuple[int, ...]
    atoms: tuple[int, ...]


def whole(shape: Sequence[int]) -> Piece:
    """Return the layout of a parameter of which nothing is known yet."""
    return Piece(tuple(() if n == 1 else (int(n),) for n in shape))


def refined(layout: Layout, place: Place, request: Request) -> Layout:
    """Return a layout with an atom read as several."""
    return _refined(layout, place.block, place, request)


def _refined(layout: Layout, block: tuple[int, ...], place: Place, request: Request) -> Layout:
    if isinstance(layout, Cut):
        parts = list(layout.parts)
        parts[block[0]] = _refined(parts[block[0]], block[1:], place, request)
        return Cut(layout.axis, layout.outer, tuple(parts))
    axis, factor = place.axis, place.factor
    old = layout.sizes[axis]
    before, after = old[:factor], old[factor + 1 :]

    def with_axis(sizes: tuple[int, ...]) -> Piece:
        return Piece((*layout.sizes[:axis], sizes, *layout.sizes[axis + 1 :]))

    if request.kind == "product":
        return with_axis((*before, *request.sizes, *after))
    parts = tuple(with_axis((*before, *((n,) if n != 1 else ()), *after)) for n in request.sizes)
    return Cut(axis, math.prod(before), parts)


def blocks(layout: Layout) -> Iterator[tuple[tuple[int, ...], Piece, list[np.ndarray]]]:
    """Yield the blocks of a parameter, with where their entries stand along each axis."""
    lines = [np.arange(n) for n in layout.shape]
    yield from _blocks(layout, (), lines)


def _blocks(
    layout: Layout, block: tuple[int, ...], lines: list[np.ndarray]
) -> Iterator[tuple[tuple[int, ...], Piece, list[np.ndarray]]]:
    if isinstance(layout, Piece):
        yield block, layout, lines
        return
    start = 0
    line = lines[layout.axis].reshape(layout.outer, -1)
    for k, part in enumerate(layout.parts):
        size = part.shape[layout.axis] // layout.outer
        mine = [*lines]
        mine[layout.axis] = line[:, start : start + size].reshape(-1)
        yield from _blocks(part, (*block, k), mine)
        start += size


@dataclasses.dataclass
class Inputs:
    """The parameters as values, with the atoms and the unknown arrays they were given.

    Unknown number j is a factor (2 j), a shift (2 j + 1), and a sign (j, in the system of signs).
    """

    values: list[Value]
    places: dict[int, Place]
    sizes: dict[int, int]
    unknowns: list[Unknown]


def inputs(domain: Transformations, layouts: Sequence[Layout]) -> Inputs:
    """Return parameters of given layouts as values."""
    out = Inputs([], {}, {}, [])
    for leaf, layout in enumerate(layouts):
        out.values.append(_value(domain, out, leaf, (), layout))
    return out


def _value(
    domain: Transformations, out: Inputs, leaf: int, block: tuple[int, ...], layout: Layout
) -> Value:
    if isinstance(layout, Cut):
        parts = tuple(
            _value(domain, out, leaf, (*block, k), part) for k, part in enumerate(layout.parts)
        )
        return Blocks(layout.axis, layout.outer, parts)
    shape = tuple(math.prod(sizes) for sizes in layout.sizes)
    if not math.prod(shape):  # without entries it is a constant, and nothing acts on it
        return domain.constant(np.zeros(shape))
    axes: list[Slots] = []
    for axis, sizes in enumerate(layout.sizes):
        slots = []
        for factor, size in enumerate(sizes):
            atom = domain.new_atom()
            out.places[atom] = Place(leaf, block, axis, factor)
            out.sizes[atom] = size
            slots.append(domain.slot(size, ATOM, atom))
        axes.append(tuple(slots))
    flat = [s for axis in axes for s in axis]
    scale, sign, shift = {}, {}, {}
    for some in _subsets(flat):
        number = len(out.unknowns)
        out.unknowns.append(Unknown(leaf, block, tuple(s.atom for s in some)))
        key = (tuple(sorted(s.number for s in some)), 0)
        scale[key], sign[key], shift[key] = {2 * number: 1}, {number: 1}, {2 * number + 1: 1}
    value = domain.plain(axes, Terms(scale, sign, shift, FINITE))
    assert isinstance(value, Plain)
    return value


def _subsets(slots: Slots | list) -> Iterator[tuple]:
    sizes = range(len(slots) + 1)
    if len(slots) > _MOST_SLOTS:
        sizes = [0, 1, 2, len(slots)]
    for size in sizes:
        yield from itertools.combinations(slots, size)
