"""Rules for what only moves entries: the atoms along an axis stay as long as it moves as one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from symtheory.symmetry.inference._alignment import LINEAR, PRODUCT
from symtheory.symmetry.inference._constraints import PERMUTATION
from symtheory.symmetry.inference._reshape import Reshapes
from symtheory.symmetry.inference._values import (
    ATOM,
    CONSTANT,
    FIXED,
    INVARIANT,
    ZERO,
    Blocks,
    Plain,
    Slot,
    Slots,
    Terms,
    Value,
    times,
)  # fmt: skip

_MOST_PARTS = 64
"""Parts into which an axis is cut at most."""


class Movement(Reshapes):
    """Slices, concatenations, places that are known or chosen."""

    # --- places that are known ---

    def take(self, x: Value, places: np.ndarray, axis: int, fill: Any = None) -> Value:
        """See `Domain.take`: slices, strides, copies and concatenations of these keep atoms."""
        places = np.asarray(places, dtype=np.int64)
        if not len(places):
            return self.filled((*x.shape[:axis], 0, *x.shape[axis + 1 :]), ZERO)
        if isinstance(x, Blocks) and x.axis != axis:
            return Blocks(
                x.axis, x.outer, tuple(self.take(part, places, axis, fill) for part in x.parts)
            )
        moving = isinstance(x, Blocks) or any(s.kind == ATOM for s in x.axes[axis])
        if fill is None:
            out = self._slice(x, places, axis, moving)
            if out is not None:
                return out
        runs = _runs(places) if moving else []
        if (
            moving
            and len(runs) <= _MOST_PARTS
            and len(np.unique(places[places >= 0])) == np.sum(places >= 0)
        ):
            return self._of_runs(x, runs, axis, fill)
        return self._reindexed(self.merged(x), places, axis, fill)

    def _slice(self, x: Value, places: np.ndarray, axis: int, moving: bool) -> Value | None:
        size, count = x.shape[axis], len(places)
        if not moving and isinstance(x, Plain) and all(s.kind == CONSTANT for s in x.axes[axis]):
            axes = [*x.axes]
            axes[axis] = self.axis(count, CONSTANT)
            return self.plain(axes, x.terms, x.hidden, x.data)
        if count == size and np.array_equal(places, np.arange(size)):
            return x
        if not count or (not moving and count < size):
            return None
        start = int(places[0])
        if count < size and np.array_equal(places, np.arange(start, start + count)):
            return self._stretch(x, axis, start, count, size)
        if count > 1 and count < size:
            step = int(places[1]) - start
            whole = step > 1 and size % step == 0 and count == size // step and start < step
            if whole and np.array_equal(places, start + step * np.arange(count)):
                return self._strided(x, axis, start, step)
        if count > size and count % size == 0 and isinstance(x, Plain):
            copies, old = count // size, x.axes[axis]
            axes = [*x.axes]
            if np.array_equal(places, np.repeat(np.arange(size), copies)):
                axes[axis] = (*old, *self.axis(copies, CONSTANT))
                return self.plain(axes, x.terms, x.hidden, x.data)
            if np.array_equal(places, np.tile(np.arange(size), copies)):
                axes[axis] = (*self.axis(copies, CONSTANT), *old)
                return self.plain(axes, x.terms, x.hidden, x.data)
        return None

    def _stretch(self, x: Value, axis: int, start: int, count: int, size: int) -> Value:
        sizes = [n for n in (start, count, size - start - count) if n]
        return self.cut(x, axis, 1, sizes)[1 if start else 0]

    def _strided(self, x: Value, axis: int, start: int, step: int) -> Value:
        shape = x.shape
        split = self.reshape(x, (*shape[:axis], shape[axis] // step, step, *shape[axis + 1 :]))
        part = self._stretch(split, axis + 1, start, 1, step)
        return self.reshape(part, (*shape[:axis], shape[axis] // step, *shape[axis + 1 :]))

    def _of_runs(
        self, x: Value, runs: Sequence[tuple[int, int]], axis: int, fill: Any
    ) -> Value:  # fmt: skip
        """Put stretches of an axis together, with what fills the gaps."""
        size = x.shape[axis]
        marks = sorted({0, size, *(k for s, n in runs if s >= 0 for k in (s, s + n))})
        small = [b - a for a, b in itertools.pairwise(marks)]
        cut = dict(zip(marks, self.cut(x, axis, 1, small), strict=False))
        parts: list[Value] = []
        for start, count in runs:
            if start < 0:
                shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
                parts.append(self.broadcast(fill, shape, ()))
                continue
            place = start
            while place < start + count:
                parts.append(cut[place])
                place += cut[place].shape[axis]
        return self.concatenate(parts, axis)

    def _reindexed(self, x: Plain, places: np.ndarray, axis: int, fill: Any) -> Plain:
        """Read a fixed axis at places: what lives on the axis becomes fixed."""
        x = self.forget(x, axis) if any(s.kind == ATOM for s in x.axes[axis]) else x
        slots = x.axes[axis]
        key = ("take", tuple(s.number for s in slots), places.tobytes())
        kind = FIXED if any(s.kind == FIXED for s in slots) or np.any(places < 0) else CONSTANT
        new = self.memo(key, lambda: self.axis(len(places), kind))
        out = self.reread(x, axis, new, key)
        return out if fill is None or not np.any(places < 0) else self._filled_in(out, fill)

    def _filled_in(self, x: Plain, fill: Any) -> Plain:
        """Return a value some entries of which are another one."""
        fill = self.broadcast(self.merged(fill), x.shape, ())
        assert isinstance(fill, Plain)
        both = self.aligned([x, fill], LINEAR)
        terms = self.equal([part.terms for part in both])
        return self.plain(both[0].axes, terms, self.hidden(*both), x.data and fill.data)

    def pick(self, x: Value, places: np.ndarray, fill: Any = None) -> Value:
        """See `Domain.pick`: axes that stay as they are keep what lives on them."""
        x = self.merged(x)
        places = np.asarray(places, dtype=np.int64)
        shape = x.shape
        coordinates = np.unravel_index(np.maximum(places, 0), shape) if shape else ()
        whole = not np.any(places < 0)
        kept: dict[int, int] = {}
        for out in range(places.ndim):
            line = np.arange(places.shape[out]).reshape([-1] + [1] * (places.ndim - out - 1))
            found = [
                k for k, c in enumerate(coordinates)
                if shape[k] == places.shape[out] and whole and np.all(c == line)
            ]  # fmt: skip
            if len(found) == 1:
                kept[found[0]] = out
        indexed = [k for k in range(len(shape)) if k not in kept]
        for axis, out in kept.items():  # what is read may depend on the index that stays
            if any(not constant_index(coordinates[k], out) for k in indexed):
                self.restrict(x.axes[axis], PERMUTATION)
        slots = [s for k in indexed for s in x.axes[k]]
        self.restrict(slots, PERMUTATION)
        axes: list[Slots] = [self.axis(n, FIXED) for n in places.shape]
        for axis, out in kept.items():
            axes[out] = x.axes[axis]
        added = [s.number for axis in axes for s in axis if s.kind != CONSTANT]
        key: Hashable = self.application()
        terms = self.imaged(x.terms, {s.number for s in slots}, added, key)
        value = self.plain(axes, terms, x.hidden, x.data)
        return value if whole or fill is None else self._filled_in(value, fill)

    # --- concatenate ---

    def concatenate(self, xs: Sequence[Value], axis: int) -> Value:
        """See `Domain.concatenate`."""
        parts: list[Value] = []
        for x in xs:
            if isinstance(x, Blocks) and x.axis == axis and x.outer == 1:
                parts += x.parts
            elif x.shape[axis]:
                parts.append(x)
        if not parts:
            return xs[0]
        if len(parts) == 1:
            return parts[0]
        plain = self._one_kind(parts, axis)
        return plain if plain is not None else Blocks(axis, 1, tuple(parts))

    def _one_kind(self, parts: Sequence[Value], axis: int) -> Plain | None:
        """Return parts that transform alike as they stand as one fixed value."""
        first = parts[0]
        if not isinstance(first, Plain):
            return None
        other = [k for k in range(len(first.axes)) if k != axis]
        for x in parts:
            if not isinstance(x, Plain) or not x.terms.same_as(first.terms):
                return None
            if any(s.kind == ATOM for s in x.axes[axis]):
                return None
            tokens = {t for part in (x.terms.scale, x.terms.sign, x.terms.shift) for k in part
                      for t in k[0]}  # fmt: skip
            if tokens.intersection(s.number for s in x.axes[axis]):
                return None
        plain = [x for x in parts if isinstance(x, Plain)]
        alike = all(
            [_label(s) for s in x.axes[k]] == [_label(s) for s in first.axes[k]]
            for x in plain
            for k in other
        )
        if not alike:
            moves = any(s.kind == ATOM for x in plain for part in x.axes for s in part)
            if moves or not first.terms.same_as(INVARIANT):
                return None
            first = self.aligned(plain, LINEAR, other)[0]
        axes = [*first.axes]
        axes[axis] = self.axis(sum(x.shape[axis] for x in parts), FIXED)
        hidden = self.hidden(*plain)
        return self.plain(axes, first.terms, hidden, all(x.data for x in plain))

    # --- places that are values ---

    def choose(self, x: Value, index: Any, axis: int, batch: int, fill: Any = None) -> Value:
        """See `Domain.choose`: what lives on the indexed axis becomes fixed."""
        index = self.merged(self.lift(index) if isinstance(index, np.ndarray) else index)
        if isinstance(x, Blocks) and x.axis == axis:
            x = self.merged(x)
        if isinstance(x, Blocks):
            if x.axis < batch:
                indices = self.cut(index, x.axis, x.outer, x.sizes)
                parts = tuple(
                    self.choose(part, i, axis, batch, fill)
                    for part, i in zip(x.parts, indices, strict=True)
                )
                return Blocks(x.axis, x.outer, parts)
            parts = tuple(self.choose(part, index, axis, batch, fill) for part in x.parts)
            more = len(index.axes) - batch - 1
            return Blocks(x.axis + (more if x.axis > axis else 0), x.outer, parts)
        self.invariant(index)
        self.no_mixing(index)
        x, index = self.align(x, index, [(k, k, PRODUCT) for k in range(batch)])
        slots = x.axes[axis]
        self.restrict(slots, PERMUTATION)
        read = [s for part in index.axes for s in part] + list(index.hidden)
        added = [s.number for s in read if s.kind != CONSTANT]
        terms = self.imaged(x.terms, {s.number for s in slots}, added, self.application())
        axes = (*x.axes[:axis], *index.axes[batch:], *x.axes[axis + 1 :])
        hidden = self.hidden(x, index)
        out = self.plain(axes, terms, hidden, x.data and index.data)
        return out if fill is None else self._filled_in(out, fill)

    def summed(self, x: Plain, axes: Sequence[int]) -> Terms:
        """Return the shift terms of a sum along axes (see `Arithmetic.sum`)."""
        slots = [s for k in axes for s in x.axes[k]]
        removed = {s.number for s in slots}
        size = math.prod(s.size for s in slots)
        still = {k: row for k, row in x.terms.shift.items() if not removed.intersection(k[0])}
        moving = {k: row for k, row in x.terms.shift.items() if removed.intersection(k[0])}
        images = self.image(moving, removed, (), self.application())
        return Terms(shift={**times(still, size), **images})


def constant_index(coordinate: np.ndarray, axis: int) -> bool:
    """Tell whether a coordinate does not depend on an axis."""
    return bool(np.all(coordinate == np.take(coordinate, [0], axis)))


def _label(slot: Slot) -> tuple[str, int]:
    return (slot.kind, slot.size if slot.kind == CONSTANT else slot.number)


def _runs(places: np.ndarray) -> list[tuple[int, int]]:
    """Return stretches of places that ascend by one, as (first, count); -1 for filled ones."""
    if not len(places):
        return []
    step = np.diff(places)
    ends = np.flatnonzero(~((step == 1) & (places[:-1] >= 0) | (step == 0) & (places[1:] < 0)))
    starts = [0, *(ends + 1)]
    stops = [*(ends + 1), len(places)]
    return [(int(places[a]), int(b - a)) for a, b in zip(starts, stops, strict=True)]


__all__ = ["Movement"]
