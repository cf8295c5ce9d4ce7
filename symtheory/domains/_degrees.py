"""The domain *degrees*: how every intermediate entry scales when the parameters are scaled.

Under theta_i -> exp(lambda mu_i) theta_i each entry v of the computation either turns into
exp(lambda d) v with a definite degree d, or is not homogeneous. The rules are exact (integers),
hold for every lambda and every sample, and cost one pass at any size: a loss of degree 0 is
invariant, which proves a diagonal symmetry where expanding polynomials would be out of reach.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, final

import numpy as np

from symtheory.domains import _movement
from symtheory.domains._domain import Domain
from symtheory.errors import SymtheoryError, UnreadableError
from symtheory.program import FUNCTIONS
from symtheory.program._known import choose_known, select_known

DEGREE = 2**8 * 3**3 * 5**2
"""One degree; degrees are integers in units of 1/DEGREE, so that nested roots stay exact."""

_LARGEST = 2**40
"""Larger degrees are refused, so that sums and products of them stay exact in 64 bits."""


class NotHomogeneousError(SymtheoryError):
    """Two terms of a sum scale differently; the domain then says nothing about the loss."""


@dataclasses.dataclass(frozen=True)
class Scaled:
    """Degrees of an array's entries.

    Attributes:
        degrees: The degrees, in units of 1/DEGREE.
        free: Entries that are 0, infinite or NaN: unchanged by any positive factor, they fit any
            degree.
    """

    degrees: np.ndarray
    free: np.ndarray

    @property
    def is_invariant(self) -> bool:
        """Whether no entry changes."""
        return bool(np.all((self.degrees == 0) | self.free))


def scaled(degrees: Any, free: Any = False) -> Scaled:
    """Return degrees with the mask of free entries broadcast to their shape.

    Raises:
        NotHomogeneousError: A degree is too large to be computed with.
    """
    degrees = np.asarray(degrees, dtype=np.int64)
    if degrees.size and max(-int(degrees.min()), int(degrees.max())) > _LARGEST:
        raise NotHomogeneousError("a degree is too large to be computed with")
    return Scaled(degrees, np.broadcast_to(np.asarray(free, dtype=bool), degrees.shape))


@final
class Degrees(Domain):
    """Homogeneity degrees of every entry, in units of 1/DEGREE.

    >>> import jax, jax.numpy as jnp
    >>> from symtheory.program import read_function
    >>> vector = jax.ShapeDtypeStruct((2,), float)
    >>> cosine = lambda x, w: x @ w / jnp.sqrt(w @ w)
    >>> out = read_function(cosine, [vector] * 2, Degrees(),
    ...                     [scaled([0, 0]), scaled([DEGREE, DEGREE])])
    >>> out.is_invariant
    True
    """

    name = "degrees"

    # --- values ---

    def constant(self, value: Any) -> Scaled:
        """Return degree 0, or any degree where a number is zero, infinite or NaN."""
        if not isinstance(value, (np.ndarray, np.generic, float, int)):
            self.refuse("sizes that are names", instead="bind the sizes first")
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise UnreadableError(f"the degrees domain cannot read values of type {array.dtype}")
        if array.dtype.kind == "b":  # a truth value is no number that could be scaled
            return scaled(np.zeros(array.shape, dtype=np.int64))
        return scaled(np.zeros(array.shape, dtype=np.int64), (array == 0) | ~np.isfinite(array))

    def shape(self, value: Scaled) -> tuple[int, ...]:
        """Return the shape of a value."""
        return value.degrees.shape

    # --- movement ---

    def _map(self, x: Scaled, move: Any) -> Scaled:
        return Scaled(move(x.degrees), move(x.free))

    def transpose(self, x: Scaled, permutation: tuple[int, ...]) -> Scaled:
        """See `Domain.transpose`."""
        return self._map(x, lambda a: np.transpose(a, permutation))

    def reshape(self, x: Scaled, shape: tuple[int, ...]) -> Scaled:
        """See `Domain.reshape`."""
        return self._map(x, lambda a: np.reshape(a, shape))

    def broadcast(self, x: Scaled, shape: Any, axes: tuple[int, ...]) -> Scaled:
        """See `Domain.broadcast`."""
        return self._map(x, lambda a: _movement.broadcast(a, shape, axes))

    def take(self, x: Scaled, places: np.ndarray, axis: int, fill: Any = None) -> Scaled:
        """See `Domain.take`."""
        parts = (None, None) if fill is None else (fill.degrees, fill.free)
        return Scaled(
            _movement.take(x.degrees, places, axis, parts[0]),
            _movement.take(x.free, places, axis, parts[1]),
        )

    def pick(self, x: Scaled, places: np.ndarray, fill: Any = None) -> Scaled:
        """See `Domain.pick`."""
        parts = (None, None) if fill is None else (fill.degrees, fill.free)
        return Scaled(
            _movement.pick(x.degrees, places, parts[0]), _movement.pick(x.free, places, parts[1])
        )

    def concatenate(self, xs: Sequence[Scaled], axis: int) -> Scaled:
        """See `Domain.concatenate`."""
        return Scaled(
            np.concatenate([x.degrees for x in xs], axis),
            np.concatenate([x.free for x in xs], axis),
        )

    def choose(self, x: Scaled, index: Any, axis: int, batch: int, fill: Any = None) -> Scaled:
        """See `Domain.choose`: all that an unknown place may point at must have one degree."""
        if isinstance(index, np.ndarray):
            missing = (None, None) if fill is None else (fill.degrees[()], fill.free[()])
            return Scaled(
                choose_known(x.degrees, index, missing[0], axis=axis, batch=batch),
                choose_known(x.free, index, missing[1], axis=axis, batch=batch),
            )
        self._require_invariant(index)
        every = self._together(x, (axis,))
        if fill is not None:
            spread = Scaled(
                *(np.broadcast_to(a, every.degrees.shape) for a in (fill.degrees, fill.free))
            )
            every = self._agree(every, spread)
        # The shape is (*batch, *before, *after); the index's own axes come in at `axis`.
        own = index.degrees.shape[batch:]
        shape = (*every.degrees.shape[:axis], *own, *every.degrees.shape[axis:])
        spread = lambda a: np.broadcast_to(
            np.expand_dims(a, [axis + k for k in range(len(own))]), shape
        )
        return self._map(every, spread)

    # --- arithmetic ---

    def _agree(self, *xs: Scaled) -> Scaled:
        """Return the common degree of several operands of a sum, entry by entry."""
        first, *rest = xs
        degrees, free = first.degrees, first.free
        for x in rest:
            if np.any((degrees != x.degrees) & ~free & ~x.free):
                raise NotHomogeneousError("terms of different degree are added or compared")
            degrees, free = np.where(free, x.degrees, degrees), free & x.free
        return scaled(degrees, free)

    def _together(self, x: Scaled, axes: tuple[int, ...]) -> Scaled:
        """Return the common degree along axes."""
        big = np.iinfo(np.int64).max
        low = np.min(np.where(x.free, big, x.degrees), axis=axes, initial=big)
        high = np.max(np.where(x.free, -big, x.degrees), axis=axes, initial=-big)
        return _between(low, high)

    def _require_invariant(self, *xs: Scaled) -> None:
        if not all(x.is_invariant for x in xs):
            raise NotHomogeneousError("a function is applied to something that scales")

    def add(self, x: Scaled, y: Scaled) -> Scaled:
        """See `Domain.add`: the degrees must be equal."""
        return self._agree(x, y)

    def mul(self, x: Scaled, y: Scaled) -> Scaled:
        """See `Domain.mul`: degrees add."""
        free = x.free | y.free
        return scaled(np.where(free, 0, x.degrees + y.degrees), free)

    def scale(self, x: Scaled, factor: Fraction) -> Scaled:
        """See `Domain.scale`."""
        return x

    def dot(self, x: Scaled, y: Scaled, batch: int, inner: int) -> Scaled:
        """See `Domain.dot`: x_ik + y_jk must not depend on k."""
        groups, summed = x.degrees.shape[:batch], x.degrees.shape[x.degrees.ndim - inner :]
        rows = x.degrees.shape[batch : x.degrees.ndim - inner]
        columns = y.degrees.shape[batch : y.degrees.ndim - inner]
        count = math.prod(groups), math.prod(summed)
        arranged = lambda a, n: a.reshape(count[0], n, count[1])
        left = [arranged(part, math.prod(rows)) for part in (x.degrees, x.free)]
        right = [arranged(part, math.prod(columns)) for part in (y.degrees, y.free)]
        dense = not (left[1].any() or right[1].any()) and left[0].size and right[0].size
        out = _dense_dot(left[0], right[0]) if dense else _masked_dot(left, right)
        return self._map(out, lambda a: a.reshape((*groups, *rows, *columns)))

    def sum(self, x: Scaled, axes: tuple[int, ...]) -> Scaled:
        """See `Domain.sum`."""
        return self._together(x, axes)

    def power(self, x: Scaled, exponent: Fraction) -> Scaled:
        """See `Domain.power`: degrees are multiplied."""
        degrees = np.where(x.free, 0, x.degrees)
        free = x.free & (exponent > 0)
        if not np.any(degrees):  # the exponent itself may not fit into 64 bits
            return scaled(degrees, free)
        if np.any(np.abs(degrees.astype(float)) * float(abs(exponent.numerator)) > _LARGEST):
            raise NotHomogeneousError("a degree is too large to be computed with")
        degrees = degrees * exponent.numerator
        if np.any(degrees % exponent.denominator):
            raise UnreadableError("the degrees domain reached its finest fraction of a degree")
        return scaled(degrees // exponent.denominator, free)

    def apply(self, function: str, *xs: Scaled) -> Scaled:
        """See `Domain.apply`: what has no degree of its own must be applied to invariants."""
        degree = FUNCTIONS[function].degree
        if function == "cbrt":
            return self.power(xs[0], Fraction(1, 3))
        if function == "is_finite" or degree == 0:
            return scaled(np.zeros_like(xs[0].degrees))
        if degree == 1:
            return xs[0]
        self._require_invariant(*xs)
        return scaled(np.zeros_like(xs[0].degrees))

    # --- order ---

    def extremum(self, x: Scaled, y: Scaled, largest: bool) -> Scaled:
        """See `Domain.extremum`."""
        return self._agree(x, y)

    def fold(self, x: Scaled, kind: str, axes: tuple[int, ...]) -> Scaled:
        """See `Domain.fold`."""
        if kind == "product":
            degrees = np.where(x.free, 0, x.degrees)
            if np.any(np.sum(np.abs(degrees.astype(float)), axis=axes) > _LARGEST):
                raise NotHomogeneousError("a degree is too large to be computed with")
            return scaled(np.sum(degrees, axis=axes), np.any(x.free, axis=axes))
        return self._together(x, axes)

    def compare(self, kind: str, x: Scaled, y: Scaled) -> Scaled:
        """See `Domain.compare`: equal degrees compare alike at every scale."""
        return scaled(np.zeros_like(self._agree(x, y).degrees))

    def select(self, which: Any, *cases: Scaled) -> Scaled:
        """See `Domain.select`: an unknown condition must not depend on the scale."""
        if isinstance(which, np.ndarray):
            return scaled(
                select_known(which, *(x.degrees for x in cases)),
                select_known(which, *(x.free for x in cases)),
            )
        self._require_invariant(which)
        return self._agree(*cases)

    def sort(self, xs: Sequence[Scaled], axis: int, keys: int) -> list[Scaled]:
        """See `Domain.sort`: what is exchanged must have one degree."""
        out = []
        for x in xs:
            one = self._together(x, (axis,))
            shape = x.degrees.shape
            out.append(
                self._map(one, lambda a, s=shape: np.broadcast_to(np.expand_dims(a, axis), s))
            )
        return out

    def cast(self, x: Scaled, kind: str) -> Scaled:
        """See `Domain.cast`: rounding keeps no degree."""
        if kind in ("real", "bit"):
            return x
        self._require_invariant(x)
        return scaled(np.zeros_like(x.degrees))


def _between(low: Any, high: Any) -> Scaled:
    """Return the degree where the lowest and the highest of a sum's terms are the same."""
    if np.any(low < high):
        raise NotHomogeneousError("terms of different degree are summed")
    empty = low > high
    return scaled(np.where(empty, 0, low), empty)


def _dense_dot(left: np.ndarray, right: np.ndarray) -> Scaled:
    """Without free entries: every row of both factors is a constant plus (minus) one profile."""
    profile = left[:, :1] - left[:, :1, :1]
    if np.any(left - left[..., :1] != profile) or np.any(right - right[..., :1] != -profile):
        raise NotHomogeneousError("terms of different degree are summed")
    return scaled(left[:, :, None, 0] + right[:, None, :, 0])


def _masked_dot(left: list[np.ndarray], right: list[np.ndarray]) -> Scaled:
    """With free entries: term by term, in the memory of the result."""
    batch, rows, inner = left[0].shape
    big = np.iinfo(np.int64).max
    low = np.full((batch, rows, right[0].shape[1]), big)
    high = np.full_like(low, -big)
    for k in range(inner):
        terms = left[0][:, :, None, k] + right[0][:, None, :, k]
        free = left[1][:, :, None, k] | right[1][:, None, :, k]
        low = np.minimum(low, np.where(free, big, terms))
        high = np.maximum(high, np.where(free, -big, terms))
    return _between(low, high)
