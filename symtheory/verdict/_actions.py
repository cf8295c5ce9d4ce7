"""One-parameter groups in floats: theta -> exp(tA) theta (+ shift), by Taylor's series."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from symtheory.verdict._subject import QUICKLY, Subject

_TERMS = 22
_REACH = 8.0
"""Largest |t| times the size of A."""
_LARGEST_MATRIX = 512
_DENSE = 128


@dataclasses.dataclass(frozen=True, eq=False)
class Action:
    """The vector field A theta + b on flattened parameters.

    Attributes:
        linear: v -> A v for rows v, (n, d) -> (n, d).
        shift: b, (d,).
        bound: About the size of A.
        matrix: A where it is known entry by entry, a sparse array if it is large.
    """

    linear: Callable[[np.ndarray], np.ndarray]
    shift: np.ndarray
    bound: float
    matrix: Any = None

    def tangent(self, points: np.ndarray) -> np.ndarray:
        """Return A theta + b."""
        return self.linear(points) + self.shift

    def flow(self, points: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Return where the points (n, d) are after the times (n,)."""
        steps = max(1, math.ceil(float(np.max(np.abs(times), initial=0.0)) * self.bound))
        step = (times / steps)[:, None]
        for _ in range(steps):
            term = step * self.tangent(points)
            points = points + term
            for k in range(2, _TERMS) if self.bound else ():
                term = step / k * self.linear(term)
                points = points + term
        return points

    def times(self, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return times of many sizes; of translations, also such that an entry changes its sign."""
        count = len(points)
        if self.bound:
            sizes = rng.choice([0.1, 1.0, 3.0, _REACH], count) / self.bound
            return sizes * rng.choice([-1.0, 1.0], count)
        size = float(np.max(np.abs(self.shift), initial=0.0)) or 1.0
        times = rng.choice([-1.0, 1.0], count) * 10 ** rng.uniform(-2, 3, count) / size
        moved = np.flatnonzero(self.shift)
        if len(moved):
            chosen = rng.choice(moved, count)
            across = -points[np.arange(count), chosen] / self.shift[chosen]
            times = np.where(rng.random(count) < 0.5, times, rng.uniform(1.5, 3, count) * across)
        return times


def sparse_action(
    dimension: int, matrix: Mapping[tuple[int, int], Any], shift: Mapping[int, Any] | None = None
) -> Action:
    """Return the field with the given entries of A and b.

    >>> turn = sparse_action(2, {(0, 1): -1, (1, 0): 1})
    >>> turn.flow(np.array([[1.0, 0.0]]), np.array([np.pi / 2])).round(6).tolist()
    [[-0.0, 1.0]]
    """
    places = np.array(list(matrix), dtype=int).reshape(-1, 2)
    values = np.array([float(x) for x in matrix.values()])
    offset = np.zeros(dimension)
    for place, value in (shift or {}).items():
        offset[place] = float(value)
    if dimension <= _DENSE:
        dense = np.zeros((dimension, dimension))
        dense[places[:, 0], places[:, 1]] = values
        return _of_matrix(dense, offset)
    from scipy.sparse import csr_array

    shape = (dimension, dimension)
    return _of_matrix(csr_array((values, (places[:, 0], places[:, 1])), shape=shape), offset)


def _of_matrix(matrix: Any, shift: np.ndarray) -> Action:
    """Return the field of a matrix, sparse or not."""
    return Action(lambda v: np.asarray(matrix @ v.T).T, shift, _size(matrix), matrix)


def _size(matrix: Any) -> float:
    sums = [abs(matrix).sum(axis=axis) for axis in (0, 1)]
    return math.sqrt(math.prod(float(np.max(x, initial=0.0)) for x in sums))


def traced_actions(
    subject: Subject, tangent: Callable[[Any, Any], Any], members: Sequence[Any] = ((),)
) -> list[Action]:
    """Return the fields theta -> tangent(theta, member), as the user's own function gives them.

    Args:
        subject: The loss, for the shapes of its parameters.
        tangent: A JAX function (params, member) -> pytree like the parameters, affine in params.
        members: Pytrees of arrays, one for each field.
    """

    def field(flat: Any, member: Any) -> Any:
        leaves = jax.tree.leaves(tangent(subject.pack(flat), member))
        parts = [
            jax.numpy.broadcast_to(leaf, shape).reshape(-1)
            for leaf, shape in zip(leaves, subject.shapes, strict=True)
        ]
        return jax.numpy.concatenate(parts)

    small = subject.dimension <= _LARGEST_MATRIX
    lanes = subject.dimension + 1 if small else subject.lanes
    function = jax.jit(jax.vmap(field, in_axes=(0, None)), compiler_options=QUICKLY)

    def apply(points: np.ndarray, member: Any) -> np.ndarray:
        out = np.empty(points.shape)
        with jax.enable_x64(True):
            for start in range(0, len(points), lanes):
                places = np.minimum(np.arange(start, start + lanes), len(points) - 1)
                out[places] = np.asarray(function(points[places], member), dtype=float)
        return out

    return [_action(subject.dimension, lambda v, m=member: apply(v, m), small)
            for member in members]  # fmt: skip


def _action(dimension: int, apply: Callable[[np.ndarray], np.ndarray], small: bool) -> Action:
    """Return the field theta -> apply(theta) for rows (n, d), entry by entry if it is small."""
    if small:
        images = apply(np.concatenate([np.zeros((1, dimension)), np.eye(dimension)]))
        matrix = (images[1:] - images[0]).T
        if dimension > _DENSE:
            from scipy.sparse import csr_array

            return _of_matrix(csr_array(matrix), images[0])
        return _of_matrix(matrix, images[0])
    shift = apply(np.zeros((1, dimension)))[0]
    linear = lambda v: apply(v) - shift
    return Action(linear, shift, _estimated_size(linear, dimension))


def linear_action(dimension: int, linear: Callable[[np.ndarray], np.ndarray]) -> Action:
    """Return the field A theta, given as a function of rows (n, d)."""
    return _action(dimension, linear, dimension <= _LARGEST_MATRIX)


def _estimated_size(linear: Callable[[np.ndarray], np.ndarray], dimension: int) -> float:
    """Return about the size of a linear map: the most it stretched something, and half more."""
    vectors = np.random.default_rng(0).normal(size=(4, dimension))
    most = 0.0
    for _ in range(6):
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = linear(vectors / np.where(length > 0, length, 1.0))
        most = max(most, float(np.max(np.linalg.norm(vectors, axis=1), initial=0.0)))
    return 1.5 * most


def mixture(actions: Sequence[Action], weights: np.ndarray) -> Action:
    """Return a combination of fields."""
    pairs = list(zip(weights, actions, strict=True))
    shift = sum((w * a.shift for w, a in pairs), 0 * actions[0].shift)
    if all(a.matrix is not None for a in actions):
        return _of_matrix(sum((w * a.matrix for w, a in pairs[1:]),
                               weights[0] * actions[0].matrix), shift)  # fmt: skip
    linear: Any = lambda v: sum((w * a.linear(v) for w, a in pairs), 0 * v)
    return Action(linear, shift, float(sum(abs(w) * a.bound for w, a in pairs)))
