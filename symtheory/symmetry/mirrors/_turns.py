"""The domain *turns*: how a signed permutation of units passes through a loss.

Under a permutation of hidden units, or a flip of their signs, every array v of the computation
turns into v'[i, j] = s a[i] b[j] v[p[i], q[j]]. The rules say what becomes of the permutations and
signs; where the loss comes out unchanged the map is a symmetry, proved in one pass at any size.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symtheory.errors import SymtheoryError

Turn = tuple[np.ndarray, np.ndarray]
"""A permutation and signs, along one axis."""


class NotEquivariantError(SymtheoryError):
    """The turn does not pass through an operation; nothing is said about the loss."""


@dataclasses.dataclass(frozen=True, eq=False)
class Turned:
    """What becomes of one array.

    Attributes:
        shape: Its shape.
        axes: Permutation and signs on the axes where they are not trivial.
        sign: A sign of the whole array.
        value: The array itself where it is a constant.
        uniform: Axes along which it is constant.
    """

    shape: tuple[int, ...]
    axes: Mapping[int, Turn] = dataclasses.field(default_factory=dict)
    sign: int = 1
    value: np.ndarray | None = None
    uniform: frozenset[int] = frozenset()

    @property
    def is_invariant(self) -> bool:
        """Whether nothing changes."""
        return not self.axes and self.sign == 1

    @property
    def is_unsigned(self) -> bool:
        """Whether entries are permuted only."""
        return self.sign == 1 and all(np.all(signs == 1) for _, signs in self.axes.values())

    @property
    def unsigned(self) -> Turned:
        """The same with all signs dropped."""
        return turned(self.shape, {k: (p, np.ones_like(s)) for k, (p, s) in self.axes.items()})


def turned(shape: Sequence[int], axes: Mapping[int, Turn], sign: int = 1) -> Turned:
    """Return a turn in its one canonical form: the first sign of every axis is +1."""
    kept = {}
    for axis, (order, signs) in axes.items():
        if signs[0] < 0:
            sign, signs = -sign, -signs
        if np.any(order != np.arange(len(order))) or np.any(signs != 1):
            kept[axis] = (order, signs)
    return Turned(tuple(shape), kept, sign)


def same(a: Turned, b: Turned) -> bool:
    """Tell whether two arrays turn alike."""
    if a.sign != b.sign or a.axes.keys() != b.axes.keys():
        return False
    return all(
        np.array_equal(mine, other)
        for axis in a.axes
        for mine, other in zip(a.axes[axis], b.axes[axis], strict=True)
    )


class Turns:
    """Signed permutations of every array of a computation.

    >>> import jax, jax.numpy as jnp, numpy as np
    >>> from symtheory.readings import read_function
    >>> vector = jax.ShapeDtypeStruct((2,), float)
    >>> swap = turned((2,), {0: (np.array([1, 0]), np.array([1, -1]))})
    >>> out = read_function(lambda u, w: u @ jnp.tanh(w), [vector] * 2, Turns(), [swap, swap])
    >>> out.is_invariant
    True
    """

    name = "turns"

    def __init__(self) -> None:
        from symtheory.symmetry.mirrors._turn_rules import turn_rules

        self._rules = turn_rules(self)

    @property
    def rules(self) -> Mapping[str, Any]:
        """The table primitive -> rule."""
        return self._rules

    def constant(self, value: Any) -> Any:
        """Read a constant, which does not change."""
        array = np.asarray(value)
        return array if array.dtype.kind in "biu" else Turned(array.shape, value=array)

    def lift(self, value: Any) -> Turned:
        """Return a concrete array as one that does not change."""
        if isinstance(value, Turned):
            return value
        return Turned(np.shape(value), value=np.asarray(value))

    def is_fixed(self, value: Any) -> bool:
        """Tell whether a value does not change."""
        return isinstance(value, Turned) and value.is_invariant

    def take(self, value: Any, step: int) -> Any:
        """Return one entry of a value along its first axis."""
        if not isinstance(value, Turned):
            return value[step]
        if 0 in value.axes:
            raise NotEquivariantError("entries of an axis that is turned are told apart")
        axes = {axis - 1: turn for axis, turn in value.axes.items()}
        return Turned(value.shape[1:], axes, value.sign)

    def stack(self, values: Sequence[Any]) -> Any:
        """Put values together along a new first axis."""
        if not any(isinstance(x, Turned) for x in values):
            return np.stack(values)
        first = self.agree(*values)
        axes = {axis + 1: turn for axis, turn in first.axes.items()}
        return Turned((len(values), *first.shape), axes, first.sign)

    def agree(self, *xs: Any) -> Turned:
        """Return the common turn of the terms of a sum; constants may turn into themselves.

        Raises:
            NotEquivariantError: They differ.
        """
        terms = [self.lift(x) for x in xs]
        shape = max((x.shape for x in terms), key=lambda s: (len(s), math.prod(s)))
        moving = [x for x in terms if not x.is_invariant]
        if not moving:
            return Turned(shape)
        first = moving[0]
        for x in terms:
            if not (same(x, first) or fixes(first, x)):
                raise NotEquivariantError("terms that change differently are added or compared")
        return Turned(shape, first.axes, first.sign)


def fixes(turn: Turned, constant: Turned) -> bool:
    """Tell whether a turn leaves a constant array as it is."""
    if not constant.is_invariant:
        return False
    value = constant.value
    if value is not None:
        out = np.broadcast_to(value, turn.shape) if value.ndim == 0 else value
        for axis, (order, signs) in turn.axes.items():
            shape = [-1 if i == axis else 1 for i in range(out.ndim)]
            out = np.take(out, order, axis) * signs.reshape(shape)
        return bool(np.all(out * turn.sign == value))
    plain = turn.is_unsigned
    return plain and (constant.shape == () or all(axis in constant.uniform for axis in turn.axes))
