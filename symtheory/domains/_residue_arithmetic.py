"""Residues and enclosures: values, movement and arithmetic of the domain *residues*."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np

from symtheory.domains import _enclosures as enclosures
from symtheory.domains import _movement
from symtheory.domains._domain import Domain
from symtheory.domains._enclosures import Enclosure
from symtheory.domains._numbers import (
    Numbers,
    concatenate,
    from_fractions,
    table,
    together,
    unknown_where,
    varying,
)
from symtheory.errors import UnreadableError
from symtheory.exact import rational
from symtheory.linear_algebra._modular import PRIME, inverse, product, residue
from symtheory.program._known import choose_known


class ResidueArithmetic(Domain):
    """What needs no decision: constants, movement, sums, products and powers of `Numbers`."""

    enclosed: bool
    _given: Any

    # --- values ---

    def constant(self, value: Any) -> Numbers:
        """See `Domain.constant`; infinite numbers have no residue, NaN is unknown."""
        if isinstance(value, Numbers):
            return value
        if not isinstance(value, (np.ndarray, np.generic, float, int)):
            self.refuse("sizes that are names", instead="bind the sizes first")
        array = np.asarray(value)
        if array.dtype == object or array.dtype.kind in "biu":
            return from_fractions(array, self.enclosed)
        if array.dtype.kind != "f":
            raise UnreadableError(
                f"the {self.name} domain cannot read values of type {array.dtype}; "
                "use real floating-point parameters and samples"
            )
        finite = np.isfinite(array)
        if not finite.all() and not self.enclosed and self._given is None:
            self.refuse("infinite or undefined constants")
        flat = np.where(finite, array, 0).astype(array.dtype).reshape(-1)
        unique, back = np.unique(flat, return_inverse=True)
        back = np.asarray(back).reshape(array.shape)
        out = table([rational(x) for x in unique], back, self.enclosed)
        if finite.all() or out.enclosure is None:
            return out
        middle = np.where(finite, out.values, array)
        return Numbers(
            out.residues, Enclosure(middle, np.where(np.isnan(middle), np.inf, out.errors))
        )

    def shape(self, value: Any) -> tuple[int, ...]:
        """See `Domain.shape`."""
        return value.shape

    def _result(
        self, residues: np.ndarray | None, enclosure: Enclosure | None, *operands: Numbers
    ) -> Numbers:
        """Return what was computed: entries of a new source, if they depend on any."""
        out = Numbers(residues, enclosure)
        if enclosure is None or all(x.source is None for x in operands):
            return out
        return varying(out)

    def _entrywise(
        self, residues: np.ndarray | None, enclosure: Enclosure | None, *operands: Numbers
    ) -> Numbers:
        """Return the same of an operation entry by entry: some entries may depend on nothing."""
        out = self._result(residues, enclosure, *operands)
        if out.source is None:
            return out
        constant = [x.source == 0 for x in operands if x.source is not None]
        fixed = np.logical_and.reduce(constant)
        return (
            out
            if not fixed.any()
            else dataclasses.replace(out, source=np.where(fixed, 0, out.source))
        )

    def _constants(self, *xs: Numbers) -> bool:
        return all(x.source is None for x in xs)

    # --- movement ---

    def transpose(self, x: Numbers, permutation: tuple[int, ...]) -> Numbers:
        """See `Domain.transpose`."""
        return x.map(lambda a: np.transpose(a, permutation))

    def reshape(self, x: Numbers, shape: tuple[int, ...]) -> Numbers:
        """See `Domain.reshape`."""
        return x.map(lambda a: np.reshape(a, shape))

    def broadcast(self, x: Numbers, shape: tuple[int, ...], axes: tuple[int, ...]) -> Numbers:
        """See `Domain.broadcast`."""
        return x.map(lambda a: _movement.broadcast(a, shape, axes))

    def take(
        self, x: Numbers, places: np.ndarray, axis: int, fill: Numbers | None = None
    ) -> Numbers:
        """See `Domain.take`."""
        if fill is None:
            return x.map(lambda a: _movement.take(a, places, axis, None))
        return together(lambda parts: _movement.take(parts[0], places, axis, parts[1]), [x, fill])

    def pick(self, x: Numbers, places: np.ndarray, fill: Numbers | None = None) -> Numbers:
        """See `Domain.pick`."""
        if fill is None:
            return x.map(lambda a: _movement.pick(a, places, None))
        return together(lambda parts: _movement.pick(parts[0], places, parts[1]), [x, fill])

    def concatenate(self, xs: Sequence[Numbers], axis: int) -> Numbers:
        """See `Domain.concatenate`."""
        return concatenate(xs, axis)

    def choose(
        self, x: Numbers, index: Any, axis: int, batch: int, fill: Numbers | None = None
    ) -> Numbers:
        """See `Domain.choose`."""
        known, certain = self._whole(index)
        low = -1 if fill is not None else 0
        known = np.clip(known, low, x.shape[axis] - 1)
        place = lambda a, b=None: np.asarray(choose_known(a, known, b, axis=axis, batch=batch))
        if fill is None:
            out = x.map(place)
        else:
            out = together(lambda parts: place(parts[0], parts[1][()]), [x, fill])
        if certain.all():
            return out
        before, after = axis - batch, len(x.shape) - axis - 1
        size = known.shape
        open_ = ~certain.reshape(*size[:batch], *[1] * before, *size[batch:], *[1] * after)
        return unknown_where(out, np.broadcast_to(open_, out.shape))

    def _whole(self, index: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return whole numbers, and where they are certain."""
        if isinstance(index, np.ndarray):
            return index.astype(np.int64), np.ones(index.shape, dtype=bool)
        if index.enclosure is None:
            numbers = np.where(index.residues > PRIME // 2, index.residues - PRIME, index.residues)
            return numbers, np.ones(numbers.shape, dtype=bool)
        middle = index.enclosure.middle
        certain = index.enclosure.exact & (middle == np.rint(middle)) & (np.abs(middle) < 2.0**53)
        return np.where(certain, middle, 0).astype(np.int64), certain

    # --- arithmetic ---

    def add(self, x: Numbers, y: Numbers) -> Numbers:
        """See `Domain.add`."""
        number = enclosure = None
        if x.residues is not None and y.residues is not None:
            number = (x.residues + y.residues) % PRIME
        if x.enclosure is not None and y.enclosure is not None:
            with np.errstate(all="ignore"):
                enclosure = enclosures.add(x.enclosure, y.enclosure)
        return self._entrywise(number, enclosure, x, y)

    def mul(self, x: Numbers, y: Numbers) -> Numbers:
        """See `Domain.mul`."""
        number = enclosure = None
        if x.residues is not None and y.residues is not None:
            number = x.residues * y.residues % PRIME
        if x.enclosure is not None and y.enclosure is not None:
            with np.errstate(all="ignore"):
                enclosure = enclosures.multiply(x.enclosure, y.enclosure, self._constants(x, y))
        out = self._entrywise(number, enclosure, x, y)
        return self._without_zeros(out, x, y) if out.source is not None else out

    def _without_zeros(self, out: Numbers, *operands: Numbers) -> Numbers:
        """Return a product in which what was multiplied by a constant zero depends on nothing."""
        assert out.source is not None
        fixed = np.zeros(out.shape, dtype=bool)
        for x in operands:
            zero = (x.values == 0) & (x.errors == 0)
            if zero.any():
                fixed |= zero if x.source is None else zero & (x.source == 0)
        fixed &= out.errors == 0
        return (
            dataclasses.replace(out, source=np.where(fixed, 0, out.source)) if fixed.any() else out
        )

    def scale(self, x: Numbers, factor: Fraction) -> Numbers:
        """See `Domain.scale`."""
        number = enclosure = None
        rate = residue(factor)
        if x.residues is not None and rate is not None:
            number = x.residues * rate % PRIME
        if x.enclosure is not None:
            with np.errstate(all="ignore"):
                enclosure = enclosures.scale(x.enclosure, factor, self._constants(x))
        elif number is None:
            raise ZeroDivisionError("a constant has a denominator that the prime divides")
        return self._entrywise(number, enclosure, x)

    def dot(self, x: Numbers, y: Numbers, batch: int, inner: int) -> Numbers:
        """See `Domain.dot`."""
        a, b = x.shape, y.shape
        shape = (*a[: len(a) - inner], *b[batch : len(b) - inner])
        left = self._matrices(x, a[:batch], a[batch : len(a) - inner], a[len(a) - inner :])
        right = self._matrices(y, b[:batch], b[batch : len(b) - inner], b[len(b) - inner :])
        number = enclosure = None
        if left.residues is not None and right.residues is not None:
            number = product(left.residues, np.swapaxes(right.residues, -1, -2)).reshape(shape)
        if left.enclosure is not None and right.enclosure is not None:
            with np.errstate(all="ignore"):
                enclosure = enclosures.dot(
                    left.enclosure, right.enclosure, self._constants(x, y)
                ).map(lambda z: z.reshape(shape))
        return self._result(number, enclosure, x, y)

    def _matrices(self, x: Numbers, *groups: Sequence[int]) -> Numbers:
        return x.reshape(*(math.prod(group) for group in groups))

    def sum(self, x: Numbers, axes: tuple[int, ...]) -> Numbers:
        """See `Domain.sum`."""
        number = enclosure = None
        if x.residues is not None:
            number = np.asarray(np.sum(x.residues, axis=axes) % PRIME)
        if x.enclosure is not None:
            with np.errstate(all="ignore"):
                enclosure = enclosures.total(x.enclosure, axes, self._constants(x))
        return self._result(number, enclosure, x)

    def power(self, x: Numbers, exponent: Fraction) -> Numbers:
        """See `Domain.power`."""
        if exponent.denominator == 1:
            n = int(exponent)
            if n < 0:
                return self.power(self._reciprocal(x), Fraction(-n))
            out = None
            while n:
                if n & 1:
                    out = x if out is None else self.mul(out, x)
                n >>= 1
                x = self.mul(x, x) if n else x
            return self.constant(np.ones(x.shape)) if out is None else out
        enclosure = self._enclosure(x, f"a power with exponent {exponent}")
        with np.errstate(all="ignore"):
            if exponent.denominator == 2:
                base = Numbers(None, enclosures.root(enclosure), x.source)
                base = self._entrywise(None, base.enclosure, x)
                return self.power(base, Fraction(exponent.numerator))
            return self._entrywise(None, enclosures.power(enclosure, exponent), x)

    def _reciprocal(self, x: Numbers) -> Numbers:
        """Return 1/x, unknown where a residue is 0 by accident."""
        number = None if x.residues is None else inverse(x.residues)
        if x.enclosure is None:
            if number is None or np.any(number == 0):
                raise ZeroDivisionError("a residue is zero")
            return Numbers(number, None)
        with np.errstate(all="ignore"):
            enclosure = enclosures.reciprocal(x.enclosure)
        if number is not None:
            infinite = np.isinf(x.values)
            if infinite.any():
                number = np.where(infinite, 0, number)
            lost = (number == 0) & ~infinite
            if lost.any():
                enclosure = Enclosure(enclosure.middle, np.where(lost, np.inf, enclosure.radius))
        return self._entrywise(number, enclosure, x)

    def _enclosure(self, x: Numbers, what: str) -> Enclosure:
        if x.enclosure is None:
            self._refuse_without(what)
        return x.enclosure

    def _refuse_without(self, what: str) -> NoReturn:
        self.refuse(what, "it was asked for residues only")
