"""Rules for transposes, broadcasts and reshapes: slots are regrouped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from symtheory.symmetry.inference._alignment import Alignment
from symtheory.symmetry.inference._constraints import PERMUTATION
from symtheory.symmetry.inference._values import (
    CONSTANT,
    FIXED,
    Blocks,
    Plain,
    Slot,
    Slots,
    Terms,
    Value,
)  # fmt: skip

_MOST_PARTS = 64
"""Parts into which an axis is cut at most."""


class Reshapes(Alignment):
    """Transposes, broadcasts, reshapes."""

    def transpose(self, x: Value, permutation: tuple[int, ...]) -> Value:
        """See `Domain.transpose`."""
        if isinstance(x, Blocks):
            parts = tuple(self.transpose(part, permutation) for part in x.parts)
            return Blocks(permutation.index(x.axis), x.outer, parts)
        return Plain(tuple(x.axes[k] for k in permutation), x.terms, x.hidden, x.data)

    def broadcast(self, x: Value, shape: tuple[Any, ...], axes: tuple[int, ...]) -> Value:
        """See `Domain.broadcast`: the new axes are constant."""
        if isinstance(x, Blocks):
            axis = axes[x.axis]
            parts = []
            for part in x.parts:
                sizes = [*shape]
                sizes[axis] = part.shape[x.axis]
                parts.append(self.broadcast(part, tuple(sizes), axes))
            return Blocks(axis, x.outer, tuple(parts))
        new: list[Slots] = []
        for axis, size in enumerate(shape):
            old = x.axes[axes.index(axis)] if axis in axes else None
            new.append(old if old or (old is not None and size == 1) else self.axis(size, CONSTANT))
        return self.plain(new, x.terms, x.hidden, x.data)

    # --- reshape ---

    def reshape(self, x: Value, shape: tuple[Any, ...]) -> Value:
        """See `Domain.reshape`: slots are regrouped, and split where an axis ends inside of one."""
        shape = tuple(int(n) for n in shape)
        if isinstance(x, Blocks):
            return self._reshape_blocks(x, shape)
        if 0 in shape:
            return self.filled(shape, Terms(facts=frozenset({"scale", "sign", "shift", "mixing"})))
        new: list[Slots] = [()] * len(shape)
        for old, group in _groups(x.shape, shape):
            if not group:
                continue
            slots = [s for k in old for s in x.axes[k]]
            x, regrouped = self._regroup(x, slots, [shape[k] for k in group])
            if regrouped is None:
                x, regrouped = self._scrambled(x, old, [shape[k] for k in group])
            for k, axis in zip(group, regrouped, strict=True):
                new[k] = axis
        return self.plain(new, x.terms, x.hidden, x.data)

    def _regroup(
        self, x: Plain, slots: list[Slot], sizes: Sequence[int]
    ) -> tuple[Plain, list[Slots] | None]:
        """Return slots in groups of given sizes, with the value in which they were split."""
        rest = self._constants_joined(slots)
        out: list[Slots] = []
        for size in sizes:
            axis: list[Slot] = []
            have = 1
            while have < size:
                if not rest:
                    return x, None
                slot, need = rest[0], size // have
                if size % have:
                    return x, None
                if need % slot.size == 0:
                    axis.append(rest.pop(0))
                    have *= slot.size
                    continue
                if slot.size % need:
                    return x, None
                first, second = self.factor(slot, need, slot.size // need)
                x = self.replaced(x, {slot.number: (first, second)})
                rest[:1] = [first, second]
            out.append(tuple(axis))
        return x, out

    def _constants_joined(self, slots: Sequence[Slot]) -> list[Slot]:
        out: list[Slot] = []
        for slot in slots:
            if slot.kind == CONSTANT and out and out[-1].kind == CONSTANT:
                out[-1] = self.slot(out[-1].size * slot.size, CONSTANT)
            else:
                out.append(slot)
        return out

    def _scrambled(
        self, x: Plain, old: Sequence[int], sizes: Sequence[int]
    ) -> tuple[Plain, list[Slots]]:
        """Return fixed axes: the rows of the new shape are none of the old one."""
        slots = [s for k in old for s in x.axes[k]]
        key = ("scramble", tuple(s.number for s in slots), tuple(sizes))
        flat = self.memo(key, lambda: tuple(self.slot(n, FIXED) for n in sizes if n != 1))
        fresh = iter(flat)
        axes: list[Slots] = [() if n == 1 else (next(fresh),) for n in sizes]
        self.restrict(slots, PERMUTATION)
        added = [s.number for s in flat]
        terms = self.imaged(x.terms, {s.number for s in slots}, added, key)
        return Plain(x.axes, terms, x.hidden, x.data), axes

    def _reshape_blocks(self, x: Blocks, shape: tuple[int, ...]) -> Value:
        """Keep the blocks if the new axes still separate them."""
        old_shape = x.shape
        for old, group in _groups(old_shape, shape):
            if x.axis not in old:
                continue
            before = math.prod(old_shape[k] for k in old if k < x.axis) * x.outer
            after = math.prod(old_shape[k] for k in old if k > x.axis)
            chunks = [n * after for n in x.sizes]
            front = 1
            for k in group:
                size = shape[k]
                tail = math.prod(shape[j] for j in group if j > k)
                whole = size * tail
                if before % front == 0 and whole % sum(chunks) == 0:
                    outer = before // front
                    if outer * sum(chunks) == whole and all(n % tail == 0 for n in chunks):
                        parts = []
                        for part, chunk in zip(x.parts, chunks, strict=True):
                            sizes = [*shape]
                            sizes[k] = outer * chunk // tail
                            parts.append(self.reshape(part, tuple(sizes)))
                        return Blocks(k, outer, tuple(parts))
                front *= size
        return self.reshape(self.merged(x), shape)


def _groups(
    old: Sequence[int], new: Sequence[int]
) -> list[tuple[list[int], list[int]]]:  # fmt: skip
    """Return the smallest groups of old and new axes that hold the same entries."""
    out: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        a, b = [], []
        left = right = 1
        while True:
            if left == right and (a or b) and left > 1:
                break
            if left <= right and i < len(old):
                a.append(i)
                left *= old[i]
                i += 1
            elif j < len(new):
                b.append(j)
                right *= new[j]
                j += 1
            elif i < len(old):
                a.append(i)
                left *= old[i]
                i += 1
            else:
                break
        out.append((a, b))
    return out
