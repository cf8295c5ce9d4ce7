"""Contractions of gradient and parameters that decide actions along axes, for models of any size.

For the action of a matrix B along one axis of a leaf W, the derivative of the loss is
sum_pq B_pq C_pq with C = (gradient, that axis first) (W, that axis first)^T. Diagonals of C decide
rescalings of units, their sums scales, other entries the mixing of units. Nothing larger than
C is ever formed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from symtheory.model import Model

_MOST_SLICES = 64
_NEARBY = 6
"""Units of each axis, neighbours, whose mixing is tried first."""


@dataclasses.dataclass(frozen=True)
class Part:
    """A leaf, or its slice at one index of its first axis (a head, an expert).

    Attributes:
        leaf: Position of the leaf among the flattened parameters.
        name: How it is called.
        index: Index along the first axis, None for a whole leaf.
        shape: Shape without the sliced axis.
    """

    leaf: int
    name: str
    index: int | None
    shape: tuple[int, ...]

    @property
    def first_axis(self) -> int:
        """What the leaf's own axis numbers are ahead by."""
        return 0 if self.index is None else 1


@dataclasses.dataclass(frozen=True)
class Place:
    """One axis of one part."""

    part: int
    axis: int


def parts_of(model: Model) -> list[Part]:
    """Return the parts of a model: leaves with three axes and more slice by slice.

    So are matrices that go with such leaves, as biases of heads (heads, size) do.
    """
    out = []
    shapes = [tuple(int(n) for n in shape) for shape in model.leaves.values()]
    stacks = [s for s in shapes if len(s) >= 3 and s[0] <= _MOST_SLICES]
    biases = {(s[0], n) for s in stacks for n in s[1:]}
    for leaf, (name, sizes) in enumerate(zip(model.leaves, shapes, strict=True)):
        label = name or "theta"
        if sizes in stacks or sizes in biases:
            out += [Part(leaf, f"{label}[{i}]", i, sizes[1:]) for i in range(sizes[0])]
        else:
            out.append(Part(leaf, label, None, sizes))
    return out


def places_of(parts: Sequence[Part]) -> dict[int, list[Place]]:
    """Return the axes by size."""
    out: dict[int, list[Place]] = {}
    for k, part in enumerate(parts):
        for axis, size in enumerate(part.shape):
            if size > 1:
                out.setdefault(size, []).append(Place(k, axis))
    return out


@dataclasses.dataclass
class Measured:
    """Contractions at many random points (first axis: points).

    Attributes:
        dots: Sum of gradient times parameter, and of its absolute value, by part.
        diagonals: The same by unit, for every place.
        shifts: Largest entry of the gradient summed along the axis, and of its absolute value
            summed, for every place.
        corners: C and its absolute counterpart among a few neighbouring units, for every place.
        active: The largest gradient entry, by part.
    """

    dots: dict[int, np.ndarray]
    diagonals: dict[Place, np.ndarray]
    shifts: dict[Place, np.ndarray]
    corners: dict[Place, np.ndarray]
    active: dict[int, np.ndarray]


class Meter:
    """Draws points and contracts the gradient there; only the gradient is compiled.

    Args:
        model: A model with everything bound.
        parts: Its parts.
        seed: Seed of the points.
    """

    def __init__(self, model: Model, parts: Sequence[Part], seed: int) -> None:
        self._model, self._parts = model.require_bound(), list(parts)
        self._places = [place for row in places_of(parts).values() for place in row]
        self._key, self._rng = jax.random.key(seed), np.random.default_rng(seed)
        self._structure = model.structure(np.float64)[0]
        self._gradient = jax.jit(jax.grad(model.evaluate))

    def _points(self, count: int) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
        """Yield gradient and parameters, part by part, at new points."""
        self._key, key = jax.random.split(self._key)
        samples = self._model.sample(key, (count,), np.float64)
        structs, tree = jax.tree.flatten(self._structure)
        for k in range(count):
            leaves = [
                self._rng.normal(size=s.shape)
                / math.sqrt(max(s.shape[-2:]) if len(s.shape) > 1 else 1)
                for s in structs
            ]
            sample = jax.tree.map(lambda x, k=k: x[k], samples)
            slopes = jax.tree.leaves(self._gradient(jax.tree.unflatten(tree, leaves), sample))
            slopes = [np.asarray(slope) for slope in slopes]
            yield [
                (slopes[p.leaf], leaves[p.leaf])
                if p.index is None
                else (slopes[p.leaf][p.index], leaves[p.leaf][p.index])
                for p in self._parts
            ]

    def measure(self, count: int, report: Any, deadline: Any) -> Measured:
        """Return the contractions at new points."""
        rows = []
        with jax.enable_x64(True):
            for k, pairs in enumerate(self._points(count)):
                deadline.check()
                report("contract gradients", k, count)
                rows.append(self._summary(pairs))
        columns = list(zip(*rows, strict=True))
        parts, places = range(len(self._parts)), self._places
        tables: list[Any] = [
            dict(zip(names, map(np.stack, zip(*column, strict=True)), strict=True))
            for names, column in zip((parts, places, places, places, parts), columns, strict=True)
        ]
        return Measured(*tables)

    def _summary(self, pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[list[Any], ...]:
        dots = [np.array([np.sum(g * v), np.sum(np.abs(g * v))]) for g, v in pairs]
        active = [np.max(np.abs(g), initial=0.0) for g, _ in pairs]
        diagonals, shifts, corners = [], [], []
        for place in self._places:
            slope, value = pairs[place.part]
            others = tuple(i for i in range(slope.ndim) if i != place.axis)
            product = slope * value
            diagonals.append(np.stack([np.sum(product, others), np.sum(np.abs(product), others)]))
            sums = [np.sum(x, place.axis) for x in (slope, np.abs(slope))]
            shifts.append(np.array([np.max(np.abs(x)) for x in sums]))
            corners.append(_both(slope, value, place.axis, near(slope.shape[place.axis])))
        return dots, diagonals, shifts, corners, active

    def matrices(
        self, places: Sequence[Place], count: int, deadline: Any
    ) -> Iterator[list[np.ndarray]]:
        """Yield C and its absolute counterpart for every place, at new points."""
        with jax.enable_x64(True):
            for pairs in self._points(count):
                deadline.check()
                yield [_both(*pairs[place.part], place.axis, None) for place in places]


def near(size: int) -> list[int]:
    """Return the units whose mixing is tried first: neighbours at the start and at the end."""
    return sorted({*range(min(size, _NEARBY)), *range(max(size - 2, 0), size)})


def _both(slope: np.ndarray, value: np.ndarray, axis: int, chosen: list[int] | None) -> np.ndarray:
    a, b = (np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1) for x in (slope, value))
    if chosen is not None:
        a, b = a[chosen], b[chosen]
    return np.stack([a @ b.T, np.abs(a) @ np.abs(b).T])
