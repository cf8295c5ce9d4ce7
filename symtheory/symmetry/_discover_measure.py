"""Contractions of gradient and parameters that decide actions along axes, for models of any size.

For the action of a matrix B along one axis of a leaf W, the derivative of the loss is
sum_pq B_pq C_pq with C = (gradient, that axis first) (W, that axis first)^T. Diagonals of C decide
rescalings of units, their sums scales, other entries the mixing of units. Nothing larger than
C is ever formed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
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
    """Return the parts of a model: leaves with three axes and more slice by slice."""
    out = []
    for leaf, (name, shape) in enumerate(model.leaves.items()):
        sizes = tuple(int(n) for n in shape)
        label = name or "theta"
        if len(sizes) >= 3 and sizes[0] <= _MOST_SLICES:
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
    """Draws points and contracts the gradient there.

    Args:
        model: A model with everything bound.
        parts: Its parts.
        seed: Seed of the points.
    """

    def __init__(self, model: Model, parts: Sequence[Part], seed: int) -> None:
        self._model, self._parts = model.require_bound(), list(parts)
        self._places = [place for row in places_of(parts).values() for place in row]
        self._key = jax.random.key(seed)
        self._structure = model.structure(np.float64)[0]
        self._gradient = jax.grad(model.evaluate)
        self._summary = jax.jit(self._summarize)
        self._full = jax.jit(self._contract, static_argnums=1)

    def _point(self, key: jax.Array) -> tuple[list[Any], Any]:
        keys = jax.random.split(key, len(jax.tree.leaves(self._structure)) + 1)
        leaves = [
            jax.random.normal(k, s.shape, np.float64)
            / math.sqrt(max(s.shape[-2:]) if len(s.shape) > 1 else 1)
            for k, s in zip(keys[1:], jax.tree.leaves(self._structure), strict=True)
        ]
        sample = self._model.sample(keys[0], (1,), np.float64)
        return leaves, jax.tree.map(lambda x: x[0], sample)

    def _pairs(self, key: jax.Array) -> list[tuple[Any, Any]]:
        leaves, sample = self._point(key)
        tree = jax.tree.structure(self._structure)
        slopes = jax.tree.leaves(self._gradient(jax.tree.unflatten(tree, leaves), sample))
        pick = lambda x, part: x if part.index is None else x[part.index]
        return [
            (pick(slopes[part.leaf], part), pick(leaves[part.leaf], part)) for part in self._parts
        ]

    def _summarize(self, key: jax.Array) -> Any:
        pairs = self._pairs(key)
        dots = [
            jnp.stack([jnp.sum(slope * value), jnp.sum(jnp.abs(slope * value))])
            for slope, value in pairs
        ]
        active = [jnp.max(jnp.abs(slope), initial=0.0) for slope, _ in pairs]
        diagonals, shifts, corners = [], [], []
        for place in self._places:
            slope, value = pairs[place.part]
            others = tuple(i for i in range(slope.ndim) if i != place.axis)
            product, sums = slope * value, [jnp.sum(x, place.axis) for x in (slope, abs(slope))]
            diagonals.append(jnp.stack([jnp.sum(product, others), jnp.sum(abs(product), others)]))
            shifts.append(jnp.stack([jnp.max(abs(x)) for x in sums]))
            corners.append(_both(slope, value, place.axis, np.array(near(slope.shape[place.axis]))))
        return dots, diagonals, shifts, corners, active

    def measure(self, count: int, report: Any, deadline: Any) -> Measured:
        """Return the contractions at new points."""
        with jax.enable_x64(True):
            self._key, *keys = jax.random.split(self._key, count + 1)
            rows = []
            for k, key in enumerate(keys):
                deadline.check()
                report("contract gradients", k, count)
                rows.append(jax.tree.map(np.asarray, self._summary(key)))
        lists = [[np.stack(xs) for xs in zip(*column, strict=True)] for column in zip(*rows, strict=True)]
        names = [range(len(self._parts)), self._places, self._places, self._places]
        tables = [
            dict(zip(name, table, strict=True))
            for name, table in zip([*names, range(len(self._parts))], lists, strict=True)
        ]
        return Measured(*tables)

    def _contract(self, key: jax.Array, places: tuple[Place, ...]) -> Any:
        pairs = self._pairs(key)
        return [_both(*pairs[place.part], place.axis, None) for place in places]

    def matrices(self, places: Sequence[Place], count: int, deadline: Any) -> Any:
        """Yield C and its absolute counterpart for every place, at new points."""
        with jax.enable_x64(True):
            self._key, *keys = jax.random.split(self._key, count + 1)
            for key in keys:
                deadline.check()
                out = self._full(key, tuple(places))
                yield [np.asarray(x) for x in out]


def near(size: int) -> list[int]:
    """Return the units whose mixing is tried first: neighbours at the start and at the end."""
    return sorted({*range(min(size, _NEARBY)), *range(max(size - 2, 0), size)})


def _both(slope: Any, value: Any, axis: int, chosen: np.ndarray | None) -> Any:
    a, b = (jnp.moveaxis(x, axis, 0).reshape(x.shape[axis], -1) for x in (slope, value))
    if chosen is not None:
        a, b = a[chosen], b[chosen]
    return jnp.stack([a @ b.T, jnp.abs(a) @ jnp.abs(b).T])
