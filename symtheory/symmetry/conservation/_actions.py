"""The domain *actions*: how linear maps of the axes of the parameters pass through a loss.

Under a generator every array v of the computation changes by M_1 v along its first axis, M_2 v
along its second, ..., plus a multiple of v. The rules say what becomes of these matrices; where
the loss comes out unchanged the generator is a symmetry, proved in one pass at any size and for
many generators at once. This is the GL(h) of matrix products (where `Degrees` sees only diagonal
matrices): in U W the matrices on the summed axis must cancel, M_U^T + M_W = 0.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symtheory.errors import SymtheoryError, UnreadableError

UNIT = 24
"""Generators are given in these units, so that square and cube roots stay integral."""

_LARGEST = 2**40


class NotEquivariantError(SymtheoryError):
    """The matrices do not pass through an operation; nothing is said about the loss."""


@dataclasses.dataclass(frozen=True, eq=False)
class Acted:
    """The action on one array, of K generators at once.

    Attributes:
        shape: Shape of the array, None where it is not known.
        scale: The K multiples of the array itself.
        axes: Matrices (K, n, n) on the axes where they are not zero; entry (0, 0) is 0, the
            multiple of the identity being part of `scale`.
        zero: The array is zero, so that every action fits.
        uniform: Axes along which the array is constant.
    """

    shape: tuple[int, ...] | None
    scale: np.ndarray
    axes: Mapping[int, np.ndarray]
    zero: bool = False
    uniform: frozenset[int] = frozenset()

    @property
    def is_invariant(self) -> bool:
        """Whether no generator changes the array."""
        return self.zero or (not self.axes and not np.any(self.scale))

    @property
    def is_diagonal(self) -> bool:
        """Whether every generator multiplies each entry by itself."""
        return all(is_diagonal(matrix) for matrix in self.axes.values())


def acted(
    shape: tuple[int, ...] | None,
    scale: np.ndarray,
    axes: Mapping[int, np.ndarray],
    zero: bool = False,
    uniform: frozenset[int] = frozenset(),
) -> Acted:
    """Return an action in its one canonical form.

    Raises:
        UnreadableError: A number grew too large for exact machine integers.
    """
    scale = np.array(scale, dtype=np.int64)
    kept = {}
    for axis, matrix in axes.items():
        corner = matrix[:, 0, 0]
        scale = scale + corner
        matrix = matrix - corner[:, None, None] * np.eye(matrix.shape[-1], dtype=np.int64)
        if np.any(matrix):
            kept[axis] = matrix
    largest = max([np.max(np.abs(scale), initial=0), *(np.abs(m).max() for m in kept.values())])
    if largest > _LARGEST:
        raise UnreadableError("the actions domain met a generator with very large entries")
    return Acted(shape, scale, kept, zero, uniform)


def is_diagonal(matrix: np.ndarray) -> bool:
    """Tell whether all matrices of a stack are diagonal."""
    return not np.any(matrix * (1 - np.eye(matrix.shape[-1], dtype=np.int64)))


class Actions:
    """Actions of `count` generators on every array of a computation.

    >>> import jax, numpy as np
    >>> from symtheory.readings import read_function
    >>> square = jax.ShapeDtypeStruct((2, 2), float)
    >>> B = np.array([[[0, 1], [1, 0]]])
    >>> u = acted((2, 2), np.zeros(1), {1: -B}); w = acted((2, 2), np.zeros(1), {0: B})
    >>> read_function(lambda u, w: u @ w, [square] * 2, Actions(1), [u, w]).is_invariant
    True
    """

    name = "actions"

    def __init__(self, count: int) -> None:
        from symtheory.symmetry.conservation._action_rules import action_rules

        self.count = count
        self._rules = action_rules(self)

    @property
    def rules(self) -> Mapping[str, Any]:
        """The table primitive -> rule."""
        return self._rules

    def invariant(self, shape: tuple[int, ...] | None, zero: bool = False) -> Acted:
        """Return an array that no generator changes."""
        return Acted(shape, np.zeros(self.count, dtype=np.int64), {}, zero)

    def constant(self, value: Any) -> Any:
        """Read a constant, which no generator changes."""
        array = np.asarray(value)
        if array.dtype.kind in "biu":
            return array
        return self.invariant(array.shape, zero=not np.any(array))

    def lift(self, value: Any) -> Acted:
        """Return a concrete array as an invariant one."""
        if isinstance(value, Acted):
            return value
        return self.invariant(np.shape(value), zero=not np.any(value))

    def is_fixed(self, value: Any) -> bool:
        """Tell whether no generator changes a value."""
        return isinstance(value, Acted) and value.is_invariant

    def take(self, value: Any, step: int) -> Any:
        """Return one entry of a value along its first axis."""
        if not isinstance(value, Acted):
            return value[step]
        if 0 in value.axes:
            raise NotEquivariantError("entries of an axis that is acted on are told apart")
        shape = None if value.shape is None else value.shape[1:]
        axes = {axis - 1: matrix for axis, matrix in value.axes.items()}
        return Acted(shape, value.scale, axes, value.zero)

    def stack(self, values: Sequence[Any]) -> Any:
        """Put values together along a new first axis."""
        if not any(isinstance(x, Acted) for x in values):
            return np.stack(values)
        first = self.agree(*values)
        shape = None if first.shape is None else (len(values), *first.shape)
        return Acted(shape, first.scale, {axis + 1: m for axis, m in first.axes.items()})

    def agree(self, *xs: Any) -> Acted:
        """Return the common action of the terms of a sum.

        Raises:
            NotEquivariantError: They differ.
        """
        terms = [self.lift(x) for x in xs]
        shape = max((x.shape or () for x in terms), key=math.prod)
        terms = [x for x in terms if not x.zero]
        if not terms:
            return self.invariant(shape, zero=True)
        first = terms[0]
        for x in terms[1:]:
            if (
                np.any(x.scale != first.scale)
                or x.axes.keys() != first.axes.keys()
                or any(np.any(x.axes[axis] != first.axes[axis]) for axis in x.axes)
            ):
                raise NotEquivariantError("terms that change differently are added or compared")
        return Acted(shape, first.scale, first.axes)
