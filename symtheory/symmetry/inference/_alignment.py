"""Bring values to common axes: split slots, cut axes into blocks, align, demand equality."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from symtheory.domains import Domain
from symtheory.symmetry.inference._constraints import MIXING, PERMUTATION, Constraints
from symtheory.symmetry.inference._values import (
    ATOM,
    CONSTANT,
    FIXED,
    NOTHING,
    Blocks,
    Linear,
    Plain,
    Slot,
    Slots,
    Terms,
    Value,
    constant_along,
    facts_of,
    parity_plus,
    pieces,
    plus,
    thin,
)  # fmt: skip

Split = dict[int, tuple[Slot, ...]]
"""What slots of a value are replaced by."""

LINEAR, PRODUCT, CONTRACTED = "linear", "product", "contracted"


class Alignment(Domain):
    """The part of the inference that every rule stands on.

    Attributes:
        log: What was demanded so far.
        atoms: How many atoms there are.
        blocked: Whether a product forbade a shift that another choice of `moving` may allow.
    """

    name = "symmetry inference"

    def __init__(self, moving: int | None = None) -> None:
        """Make a domain.

        Args:
            moving: Which factor of a product may be shifted where both depend on parameters (0 or
                1), the other one then being left as it is; None if no such shift is looked for.
        """
        self.moving = moving
        self.blocked = False
        self.log = Constraints()
        self.atoms = 0
        self._numbers = itertools.count(1)
        self._chains: dict[Hashable, int] = {}
        self._memo: dict[Hashable, tuple[Slot, ...]] = {}
        self._applications = itertools.count(1)

    # --- making slots and values ---

    def new_atom(self) -> int:
        """Return the number of a new atom."""
        self.atoms += 1
        return self.atoms - 1

    def slot(self, size: int, kind: str, atom: int = -1) -> Slot:
        """Return a new slot."""
        return Slot(next(self._numbers), size, kind, atom)

    def axis(self, size: int, kind: str) -> Slots:
        """Return the slots of a new axis."""
        return () if size == 1 else (self.slot(size, kind),)

    def clone(self, slot: Slot) -> Slot:
        """Return another index over the same atom."""
        return Slot(next(self._numbers), slot.size, slot.kind, slot.atom)

    def plain(
        self, axes: Sequence[Slots], terms: Terms, hidden: Slots = (), data: bool = False
    ) -> Plain:
        """Return a value, noting which atoms it carries together."""
        axes = tuple(axes)
        slots = (*itertools.chain.from_iterable(axes), *hidden)
        self.log.carry(tuple(sorted(s.atom for s in slots if s.kind == ATOM)))
        return Plain(axes, terms, hidden, data)

    def constant(self, value: Any) -> Plain:
        """See `Domain.constant`."""
        if isinstance(value, (bool, int, float, np.generic)):
            value = np.asarray(value)
        if not isinstance(value, np.ndarray):
            self.refuse("a size or a position that is a name", instead="bind the sizes first")
        axes = [
            self.axis(n, CONSTANT if constant_along(value, k) else FIXED)
            for k, n in enumerate(value.shape)
        ]
        return Plain(tuple(axes), Terms(facts=facts_of(thin(value))), (), True)

    def filled(self, shape: Sequence[int], terms: Terms) -> Plain:
        """Return a value that is the same along all its axes."""
        return Plain(tuple(self.axis(n, CONSTANT) for n in shape), terms, (), True)

    def shape(self, value: Any) -> tuple[int, ...]:
        """See `Domain.shape`."""
        return value.shape

    # --- demands ---

    def restrict(self, slots: Sequence[Slot], kind: str) -> None:
        """Forbid mixing, or permutation, along slots."""
        for slot in slots:
            if slot.kind == ATOM:
                self.log.restrict(slot.atom, MIXING)
                if kind == PERMUTATION:
                    self.log.restrict(slot.atom, PERMUTATION)

    def no_mixing(self, x: Plain) -> None:
        """Demand that nothing mixes along any axis: what follows is not linear."""
        for axis in x.axes:
            self.restrict(axis, MIXING)
        self.restrict(x.hidden, MIXING)

    def vanish(self, x: Linear, sign: bool = False) -> None:
        """Demand that terms are 0."""
        for row in x.values():
            self.log.vanish(row, sign)

    def invariant(self, x: Plain) -> None:
        """Demand that the entries only move."""
        self.vanish(x.terms.scale)
        self.vanish(x.terms.sign, True)
        self.vanish(x.terms.shift)

    def equal(self, xs: Sequence[Terms], shift: bool = True) -> Terms:
        """Demand that terms are equal, up to what constants leave free; return them."""
        out: dict[str, Linear] = {}
        for name in ("scale", "sign", "shift"):
            given = [getattr(x, name) for x in xs if name not in x.facts]
            if name == "shift" and not shift:
                given = []
            for other in given[1:]:
                if name == "sign":
                    self.vanish(parity_plus(given[0], other), True)
                else:
                    self.vanish(plus(given[0], other, -1))
            out[name] = given[0] if given else NOTHING
        return Terms(**out, facts=frozenset.intersection(*(x.facts for x in xs)))

    # --- images under linear maps that have no name ---

    def image(
        self, x: Linear, removed: set[int], added: Sequence[int], tag: Hashable, every: bool = False
    ) -> Linear:
        """Return what terms become when slots are summed, reordered or read at some places.

        A linear image of an unknown array vanishes where the array does, and two images agree
        where they are taken by one map (`tag`) from terms of one key.

        Args:
            x: The terms.
            removed: Slots that go; terms that do not vary along them stay as they are.
            added: Slots along which the images vary.
            tag: Names the map.
            every: Whether all terms are mapped.
        """
        out: dict[Any, Mapping[int, Any]] = {}
        for key, row in x.items():
            tokens, _ = key
            if every or removed.intersection(tokens):
                rest = tuple(t for t in tokens if t not in removed)
                new = (*rest, *(t for t in added if t not in rest))
                out[new, self._chain((tag, key))] = row
            else:
                out[key] = row
        return out

    def _chain(self, name: Hashable) -> int:
        return self._chains.setdefault(name, len(self._chains) + 1)

    def application(self) -> tuple[str, int]:
        """Return a name for the map that the operation at hand applies."""
        return ("application", next(self._applications))

    def imaged(
        self, x: Terms, removed: set[int], added: Sequence[int], tag: Hashable
    ) -> Terms:  # fmt: skip
        """Return terms mapped (see `image`)."""
        if not (x.scale or x.sign or x.shift):
            return x
        scale, sign, shift = (
            self.image(part, removed, added, tag) for part in (x.scale, x.sign, x.shift)
        )
        return Terms(scale, sign, shift, x.facts)

    # --- splitting ---

    def memo(self, key: Hashable, make: Callable[[], tuple[Slot, ...]]) -> tuple[Slot, ...]:
        """Return slots made earlier under a key: equal values are split alike."""
        if key not in self._memo:
            self._memo[key] = make()
        return self._memo[key]

    def factor(self, slot: Slot, first: int, second: int) -> tuple[Slot, ...]:
        """Split a slot into rows and columns."""
        sizes = tuple(n for n in (first, second) if n != 1)
        if len(sizes) == 1:
            return (slot,)
        if slot.kind == ATOM:
            self.log.request(slot.atom, "product", sizes)
        return self.memo(("factor", slot.number, first), lambda: self._like(slot, sizes))

    def _like(self, slot: Slot, sizes: Sequence[int]) -> tuple[Slot, ...]:
        """Return slots of the same kind; atoms of which nothing is concluded."""
        return tuple(
            self.slot(n, slot.kind, self.new_atom() if slot.kind == ATOM else -1) for n in sizes
        )

    def replaced(self, x: Plain, split: Split) -> Plain:
        """Return a value with slots replaced."""
        if not split:
            return x
        axes = tuple(
            tuple(itertools.chain.from_iterable(split.get(s.number, (s,)) for s in axis))
            for axis in x.axes
        )
        tokens = {n: tuple(s.number for s in new if s.kind != CONSTANT) for n, new in split.items()}
        return self.plain(axes, x.terms.renamed(tokens), x.hidden, x.data)

    def forget(self, x: Plain, axis: int) -> Plain:
        """Return a value whose axis is one fixed slot: nothing is known about its parts."""
        slots = x.axes[axis]
        if len(slots) <= 1 and all(s.kind != ATOM for s in slots):
            return x
        size = math.prod(s.size for s in slots)
        if all(s.kind == CONSTANT for s in slots):
            axes = [*x.axes]
            axes[axis] = self.axis(size, CONSTANT)
            return self.plain(axes, x.terms, x.hidden, x.data)
        key = ("forget", tuple(s.number for s in slots))
        new = self.memo(key, lambda: self.axis(size, FIXED))
        return self.reread(x, axis, new, key)

    def reread(self, x: Plain, axis: int, new: Slots, tag: Hashable) -> Plain:
        """Return a value with an axis read in a way that only moves what does not move."""
        slots = x.axes[axis]
        self.restrict(slots, PERMUTATION)
        terms = self.imaged(x.terms, {s.number for s in slots}, [s.number for s in new], tag)
        axes = [*x.axes]
        axes[axis] = new
        return self.plain(axes, terms, x.hidden, x.data)

    def merged(self, x: Value) -> Plain:
        """Return blocks as one value, which demands that they transform alike."""
        if isinstance(x, Plain):
            return x
        parts = [self.forget(self.merged(part), x.axis) for part in x.parts]
        n = len(parts[0].axes)
        size = x.shape[x.axis]
        for part in parts:
            along = {s.number for s in part.axes[x.axis]}
            for name in ("scale", "sign", "shift"):
                given: Linear = getattr(part.terms, name)
                moving = {k: row for k, row in given.items() if along.intersection(k[0])}
                self.vanish(moving, name == "sign")
        other = [k for k in range(n) if k != x.axis]
        aligned = self.aligned(parts, LINEAR, other)
        terms = self.equal([part.terms for part in aligned])
        axes = [*aligned[0].axes]
        axes[x.axis] = self.axis(size, FIXED)
        hidden = self.hidden(*aligned)
        return self.plain(axes, terms, hidden, all(part.data for part in aligned))

    def hidden(self, *xs: Plain) -> Slots:
        """Return the hidden slots of several values."""
        return tuple({s.number: s for x in xs for s in x.hidden}.values())

    # --- cutting ---

    def cut(self, x: Value, axis: int, outer: int, sizes: Sequence[int]) -> list[Value]:
        """Cut an axis, read as (outer, rest), into parts of given sizes along `rest`."""
        if len(sizes) == 1:
            return [x]
        if isinstance(x, Blocks):
            if x.axis != axis:
                columns = [self.cut(part, axis, outer, sizes) for part in x.parts]
                return [Blocks(x.axis, x.outer, row) for row in zip(*columns, strict=True)]
            if x.outer == outer:
                return self._cut_blocks(x, sizes)
            x = self.merged(x)
        return self._cut_plain(x, axis, outer, sizes)

    def _cut_blocks(self, x: Blocks, sizes: Sequence[int]) -> list[Value]:
        ends = list(itertools.accumulate(sizes))
        marks = sorted({*ends, *itertools.accumulate(x.sizes)})
        small: list[Value] = []
        start = 0
        for part, size in zip(x.parts, x.sizes, strict=True):
            inside = [m - start for m in marks if start < m <= start + size]
            steps = [b - a for a, b in zip([0, *inside], inside, strict=False)]
            small += self.cut(part, x.axis, x.outer, steps)
            start += size
        out: list[Value] = []
        group: list[Value] = []
        for mark, part in zip(marks, small, strict=True):
            group.append(part)
            if mark in ends:
                out.append(group[0] if len(group) == 1 else Blocks(x.axis, x.outer, tuple(group)))
                group = []
        return out

    def _cut_plain(self, x: Plain, axis: int, outer: int, sizes: Sequence[int]) -> list[Value]:
        slots = x.axes[axis]
        if all(s.kind == CONSTANT for s in slots):
            return [self._with_axis(x, axis, self.axis(outer * n, CONSTANT), {}) for n in sizes]
        place = self._place(slots, outer, sizes)
        if place is None:
            x = self.forget(x, axis)
            place = self._place(x.axes[axis], outer, sizes)
            assert place is not None
        split, position = place
        x = self.replaced(x, split)
        slots = x.axes[axis]
        slot = slots[position]
        tail = math.prod(s.size for s in slots[position + 1 :])
        steps = tuple(n // tail for n in sizes)
        if slot.kind == ATOM:
            self.log.request(slot.atom, "cut", steps)
        kind = slot.kind

        def make() -> tuple[Slot, ...]:  # a part of size one keeps its place in the list
            return tuple(
                Slot(next(self._numbers), n, kind, self.new_atom() if kind == ATOM else -1)
                for n in steps
            )

        out: list[Value] = []
        for k, part in enumerate(self.memo(("cut", slot.number, steps), make)):
            new = () if part.size == 1 else (part,)
            whole = (*slots[:position], *new, *slots[position + 1 :])
            out.append(self._with_axis(x, axis, whole, {slot.number: (new, ("cut", steps, k))}))
        return out

    def _with_axis(
        self, x: Plain, axis: int, slots: Slots, images: Mapping[int, tuple[Slots, Hashable]]
    ) -> Plain:
        axes = [*x.axes]
        axes[axis] = slots
        terms = x.terms
        for number, (new, tag) in images.items():
            added = [s.number for s in new if s.kind != CONSTANT]
            terms = self.imaged(terms, {number}, added, tag)
        return self.plain(axes, terms, x.hidden, x.data)

    def _place(
        self, slots: Slots, outer: int, sizes: Sequence[int]
    ) -> tuple[Split, int] | None:  # fmt: skip
        """Return how to split slots so that one of them is to be cut, and which."""
        split: Split = {}
        front = 1
        position = 0
        rest = list(slots)
        while front < outer and rest:
            slot = rest[0]
            if outer % (front * slot.size) == 0:
                front *= slot.size
                rest.pop(0)
                position += 1
                continue
            need = outer // front
            if outer % front or slot.size % need:
                return None
            both = self.factor(slot, need, slot.size // need)
            split[slot.number] = both
            position += 1
            front = outer
            rest[:1] = both[1:]
        if front != outer or not rest:
            return None
        tail = math.prod(s.size for s in rest[1:])
        return (split, position) if all(n % tail == 0 for n in sizes) else None

    # --- aligning ---

    def aligned(
        self, xs: Sequence[Plain], mode: str, axes: Sequence[int] | None = None
    ) -> list[Plain]:
        """Return values of one shape with the same slots along all (or some) axes."""
        out = [xs[0]]
        for y in xs[1:]:
            along = range(len(y.axes)) if axes is None else axes
            pairs = [(k, k, mode) for k in along]
            before = out[0]
            x, y, mapping, forgotten = self._align(before, y, pairs)
            for axis in forgotten:
                out = [self.forget(earlier, axis) for earlier in out]
            out = [x, *(self._mapped(earlier, mapping) for earlier in out[1:]), y]
        return out

    def _mapped(self, x: Plain, mapping: Split) -> Plain:
        axes = tuple(
            tuple(itertools.chain.from_iterable(mapping.get(s.number, (s,)) for s in axis))
            for axis in x.axes
        )
        tokens = {n: tuple(s.number for s in new) for n, new in mapping.items()}
        return Plain(axes, x.terms.renamed(tokens), x.hidden, x.data)

    def align(
        self, x: Plain, y: Plain, pairs: Sequence[tuple[int, int, str]]
    ) -> tuple[Plain, Plain]:
        """Return two values with the same slots along pairs of axes, and no other slot in common.

        The slots say what is known of both together: an atom if one of them has one there, else
        fixed if one of them is, else constant.

        Args:
            x: A value.
            y: Another.
            pairs: An axis of x, one of y, and what is done along them: `LINEAR` (added),
                `PRODUCT` (multiplied entry by entry), `CONTRACTED` (multiplied and summed).
        """
        return self._align(x, y, pairs)[:2]

    def _align(
        self, x: Plain, y: Plain, pairs: Sequence[tuple[int, int, str]]
    ) -> tuple[Plain, Plain, Split, list[int]]:
        """Return what `align` does, what slots of x became, and axes of x that were forgotten."""
        split: Split = {}
        forgotten: list[int] = []
        for i, j, _ in pairs:
            found = self._matched(x.axes[i], y.axes[j])
            if found is None:
                forgotten.append(i)
                x, y = self.forget(x, i), self.forget(y, j)
                found = self._matched(x.axes[i], y.axes[j])
                assert found is not None
            x, y = self.replaced(x, found[0]), self.replaced(y, found[1])
            split = _composed(split, found[0])
        renaming_x: Split = {}
        renaming_y: Split = {}
        used: set[int] = set()
        events: list[tuple[Slot, Slot, str]] = []
        for i, j, mode in pairs:
            for a, b in zip(x.axes[i], y.axes[j], strict=True):
                best = a if _rank(a) >= _rank(b) else b
                if best.number in used:
                    best = self.clone(best)
                used.add(best.number)
                renaming_x[a.number] = (best,)
                renaming_y[b.number] = (best,)
                events.append((a, b, mode))
        for value, renaming, taken in (
            (x, renaming_x, {i for i, _, _ in pairs}),
            (y, renaming_y, {j for _, j, _ in pairs}),
        ):
            for k, axis in enumerate(value.axes):
                for slot in axis if k not in taken else ():
                    new = self.clone(slot) if slot.number in used else slot
                    used.add(new.number)
                    if new is not slot:
                        renaming[slot.number] = (new,)
        self._aligning(x, y, events)
        x, y = self._mapped(x, renaming_x), self._mapped(y, renaming_y)
        return x, y, _composed(split, renaming_x), forgotten

    def _aligning(self, x: Plain, y: Plain, events: Sequence[tuple[Slot, Slot, str]]) -> None:
        pairs: list[tuple[int, int]] = []
        contracted: list[bool] = []
        for a, b, mode in events:
            if a.kind == ATOM and b.kind == ATOM:
                pairs.append((a.atom, b.atom))
                contracted.append(mode == CONTRACTED)
                if mode == PRODUCT:
                    self.restrict((a, b), MIXING)
            for one, other, value in ((a, b, y), (b, a, x)):
                if one.kind != ATOM:
                    continue
                if other.kind == FIXED:
                    self.restrict((one,), PERMUTATION)
                elif other.kind == CONSTANT and mode != PRODUCT:
                    harmless = mode == LINEAR and "mixing" in value.terms.facts
                    if not harmless:
                        self.restrict((one,), MIXING)
        shared = {s.number for s in x.hidden} & {s.number for s in y.hidden}
        for slot in x.hidden:
            if slot.number in shared and slot.kind == ATOM:
                pairs.append((slot.atom, slot.atom))
                contracted.append(False)
        self.log.unite(pairs, contracted)

    def _matched(self, xs: Slots, ys: Slots) -> tuple[Split, Split] | None:
        """Return how to split slots so that those of two axes have equal sizes."""
        if all(s.kind == CONSTANT for s in xs) and xs:
            return self._spread_constant(xs, ys), {}
        if all(s.kind == CONSTANT for s in ys) and ys:
            return {}, self._spread_constant(ys, xs)
        split_x: Split = {}
        split_y: Split = {}
        a, b = list(xs), list(ys)
        while a and b:
            m, n = a[0].size, b[0].size
            if m == n:
                a.pop(0)
                b.pop(0)
                continue
            big, small, split = (a, n, split_x) if m > n else (b, m, split_y)
            slot = big[0]
            if not small or slot.size % small:
                return None
            new = self.factor(slot, small, slot.size // small)
            _split_again(split, slot, new)
            big[:1] = new
        return None if a or b else (split_x, split_y)

    def _spread_constant(self, xs: Slots, ys: Slots) -> Split:
        new = tuple(self.slot(s.size, CONSTANT) for s in ys)
        if [s.size for s in xs] == [s.size for s in ys]:
            return {}
        return {xs[0].number: new, **{s.number: () for s in xs[1:]}}

    # --- spreading over blocks ---

    def spread(self, rule: Callable[..., Value], *xs: Value) -> Value:
        """Apply a rule for values of one shape, block by block."""
        block = next((x for x in xs if isinstance(x, Blocks)), None)
        if block is None:
            return rule(*xs)
        axis, outer = block.axis, block.outer
        sizes = block.sizes
        if any(isinstance(x, Blocks) and x.axis == axis and x.outer != outer for x in xs):
            return self.spread(
                rule,
                *(self.merged(x) if isinstance(x, Blocks) and x.axis == axis else x for x in xs),
            )
        for x in xs:  # the cuts of all of them
            if isinstance(x, Blocks) and x.axis == axis:
                sizes = _common(sizes, x.sizes)
        columns = [self.cut(x, axis, outer, sizes) for x in xs]
        rows = zip(*columns, strict=True)
        return Blocks(axis, outer, tuple(self.spread(rule, *row) for row in rows))

    def all_data(self, x: Value) -> bool:
        """Tell whether a value depends on no parameter."""
        return all(piece.data for piece in pieces(x))


def _rank(slot: Slot) -> int:
    return {ATOM: 2, FIXED: 1, CONSTANT: 0}[slot.kind]


def _split_again(split: Split, slot: Slot, new: tuple[Slot, ...]) -> None:
    for number, parts in split.items():
        if slot in parts:
            k = parts.index(slot)
            split[number] = (*parts[:k], *new, *parts[k + 1 :])
            return
    split[slot.number] = new


def _composed(first: Split, second: Split) -> Split:
    out = {
        n: tuple(itertools.chain.from_iterable(second.get(s.number, (s,)) for s in parts))
        for n, parts in first.items()
    }
    return {**second, **out}


def _common(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    marks = sorted({*itertools.accumulate(a), *itertools.accumulate(b)})
    return tuple(n - m for m, n in zip([0, *marks], marks, strict=False))
