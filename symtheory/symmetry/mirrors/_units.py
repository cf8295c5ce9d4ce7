"""Which axes of which leaves belong to the same hidden units, found from gradients."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np

from symtheory import shapes
from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.readable import nowhere_finite
from symtheory.verdict import QUICKLY

POINTS = 6
_TRIED = 4 * POINTS
_MOST = 200
_ROUNDING = 1e-12
"""Relative gradients up to this count as none: sums and differences of the same may leave some."""

Axis = tuple[int, int]
"""Number of a leaf, and one of its axes (0 for a scalar)."""


class Probe:
    """A model's loss and gradient in double precision at a few random points.

    Args:
        model: A model with all sizes bound.
        seed: Seed of the points.
    """

    def __init__(self, model: Model, seed: int) -> None:
        self.model = model
        self.shapes = [shapes.fixed(shape) for shape in model.leaves.values()]
        rng = np.random.default_rng(seed)
        params, sample, constants = model.structure(np.float64)
        self.tree = jax.tree.structure(params)
        with jax.enable_x64(True):
            values = {
                name: np.asarray(model.values[name], dtype=float)
                if name in model.values
                else rng.normal(size=struct.shape)
                for name, struct in constants.items()
            }

            def loss(leaves: Any, z: Any) -> Any:
                return model.evaluate(jax.tree.unflatten(self.tree, leaves), z, values)

            self._loss = jax.jit(jax.vmap(loss), compiler_options=QUICKLY)
            self._slope = jax.jit(jax.vmap(jax.grad(loss)), compiler_options=QUICKLY)
            # Half of the points are positive: scales, variances and the like may have to be.
            drawn = [rng.normal(size=(_TRIED, *shape)) for shape in self.shapes]
            theta = [np.concatenate([x[: _TRIED // 2], np.abs(x[_TRIED // 2 :])]) for x in drawn]
            if any(law.arrays for law in model.laws.values()):
                z = jax.tree.map(lambda s: rng.normal(size=(_TRIED, *s.shape)), sample)
            else:
                z = model.sample(jax.random.key(seed), (_TRIED,), np.float64)
            finite = np.flatnonzero(np.isfinite(np.asarray(self._loss(theta, z))))[:POINTS]
            if not len(finite):
                raise InputError(nowhere_finite(model, _TRIED))
            chosen = np.resize(finite, POINTS)
            self.theta = [x[chosen] for x in theta]
            self.sample = jax.tree.map(lambda x: np.asarray(x)[chosen], z)
            self._value = np.asarray(self._loss(self.theta, self.sample))

    def changes(self, leaves: list[np.ndarray]) -> float:
        """Return the largest relative change of the loss when the parameters are replaced."""
        with jax.enable_x64(True):
            after = np.asarray(self._loss(leaves, self.sample))
        scale = np.maximum(np.abs(self._value), np.max(np.abs(self._value)) * 1e-3 + 1e-300)
        change = np.max(np.abs(after - self._value) / scale)
        return float(change) if np.isfinite(change) else math.inf

    def slopes(self, leaves: list[np.ndarray]) -> list[np.ndarray]:
        """Return the absolute gradient, summed over the points, leaf by leaf."""
        with jax.enable_x64(True):
            rows = self._slope(leaves, self.sample)
        return [np.abs(np.asarray(row)).sum(axis=0) for row in rows]


def unit_axes(probe: Probe) -> list[list[Axis]]:
    """Return groups of axes of equal length that index the same units.

    If all weights of a unit along one axis are zero, no gradient reaches its weights along the
    others: axes are linked where that happens.
    """
    axes = [
        (k, a)
        for k, shape in enumerate(probe.shapes)
        if math.prod(shape)  # a leaf without entries has no units
        for a in range(max(len(shape), 1))
    ]
    axes = axes[:_MOST]
    size = {(k, a): (probe.shapes[k] or (1,))[a] for k, a in axes}
    before = probe.slopes(probe.theta)
    chosen = _liveliest(before, size)
    owner = {axis: axis for axis in axes}

    def root(axis: Axis) -> Axis:
        while owner[axis] != axis:
            axis = owner[axis]
        return axis

    for axis in axes:
        unit = chosen[size[axis]]
        leaves = list(probe.theta)
        leaves[axis[0]] = leaves[axis[0]].copy()
        _unit(leaves[axis[0]], axis[1] + 1, unit)[...] = 0
        after = probe.slopes(leaves)
        for other in axes:
            if other[0] == axis[0] or size[other] != size[axis]:
                continue
            left, was = (_unit(g[other[0]], other[1], unit) for g in (after, before))
            rest = _others(after[other[0]], other[1], unit)
            gone = np.max(left, initial=0.0) <= _ROUNDING * np.max(was, initial=0.0)
            if gone and np.any(was) and (size[axis] == 1 or np.any(rest)):
                owner[root(other)] = root(axis)
    groups: dict[Axis, list[Axis]] = {}
    for axis in axes:
        groups.setdefault(root(axis), []).append(axis)
    return [group for group in groups.values() if len(group) > 1]


def _liveliest(slopes: list[np.ndarray], size: dict[Axis, int]) -> dict[int, int]:
    """Return by size the unit along which most axes have a gradient: a dead one links nothing."""
    alive: dict[int, np.ndarray] = {}
    for (leaf, axis), n in size.items():
        rows = np.moveaxis(np.atleast_1d(slopes[leaf]), axis, 0).reshape(n, -1)
        alive[n] = alive.get(n, np.zeros(n, dtype=int)) + rows.any(axis=1)
    return {n: int(np.argmax(count)) for n, count in alive.items()}


def _unit(array: np.ndarray, axis: int, number: int) -> np.ndarray:
    """Return the view of one unit along an axis (all of a scalar)."""
    if array.ndim <= axis:
        return array.reshape(array.shape)
    return np.moveaxis(array, axis, 0)[number]


def _others(array: np.ndarray, axis: int, number: int) -> np.ndarray:
    return array if array.ndim <= axis else np.delete(array, number, axis)


def rank_of(probe: Probe, group: list[Axis]) -> int:
    """Return rank P for a swap of two units of a group, or a flip of one."""
    out = 0
    for leaf in {leaf for leaf, _ in group}:
        shape = probe.shapes[leaf] or (1,)
        # I - 2P has trace n - 2 along each axis of the group.
        trace = math.prod(n - 2 if (leaf, axis) in group else n for axis, n in enumerate(shape))
        out += (math.prod(shape) - trace) // 2
    return out
