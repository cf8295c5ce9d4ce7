"""Make slots and values, split slots, map terms, and write down what is demanded of them."""

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
    Linear,
    Plain,
    Slot,
    Slots,
    Terms,
    constant_along,
    facts_of,
    parity_plus,
    plus,
    thin,
)  # fmt: skip

Split = dict[int, tuple[Slot, ...]]
"""What slots of a value are replaced by."""


class Slotted(Domain):
    """The part of the domain that makes and splits slots, and writes demands down.

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

    def hidden(self, *xs: Plain) -> Slots:
        """Return the hidden slots of several values."""
        return tuple({s.number: s for x in xs for s in x.hidden}.values())
