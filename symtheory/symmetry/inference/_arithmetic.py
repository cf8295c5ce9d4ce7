"""Rules for sums, products, functions and order.

A rule is sound if, whenever its operands transform as they say, its result does: for finite
elements of the group, for all parameters and samples.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from symtheory.program import FUNCTIONS
from symtheory.symmetry.inference._alignment import CONTRACTED, LINEAR, PRODUCT, common
from symtheory.symmetry.inference._constraints import MIXING, PERMUTATION
from symtheory.symmetry.inference._movement import Movement
from symtheory.symmetry.inference._values import (
    CONSTANT,
    FINITE,
    FIXED,
    INVARIANT,
    NOTHING,
    ZERO,
    Blocks,
    Linear,
    Plain,
    Terms,
    Value,
    parity_plus,
    plus,
    times,
)  # fmt: skip


class Arithmetic(Movement):
    """What operations do to numbers."""

    # --- linear ---

    def add(self, x: Value, y: Value) -> Value:
        """See `Domain.add`: both transform alike, shifts add up."""
        return self.spread(self._add, x, y)

    def _add(self, x: Plain, y: Plain) -> Plain:
        if x.is_zero or y.is_zero:
            return y if x.is_zero else x
        x, y = self.aligned([x, y], LINEAR)
        same = self.equal([x.terms, y.terms], shift=False)
        shift = plus(x.terms.shift, y.terms.shift)
        terms = Terms(same.scale, same.sign, shift, same.facts)
        return self.plain(x.axes, terms, self.hidden(x, y), x.data and y.data)

    def scale(self, x: Value, factor: Fraction) -> Value:
        """See `Domain.scale`."""
        if isinstance(x, Blocks):
            return Blocks(x.axis, x.outer, tuple(self.scale(part, factor) for part in x.parts))
        old = x.terms
        facts = old.facts - ({"true"} if factor > 0 else {"lowest", "highest", "true"})
        terms = Terms(old.scale, old.sign, times(old.shift, factor), facts)
        return self.plain(x.axes, terms, x.hidden, x.data)

    def sum(self, x: Value, axes: tuple[int, ...]) -> Value:
        """See `Domain.sum`: what is summed does not mix and has one factor and one sign."""
        return self._reduced(x, axes, self._sum, self.add)

    def _sum(self, x: Plain, axes: tuple[int, ...]) -> Plain:
        if x.is_zero:
            return self.filled([n for k, n in enumerate(x.shape) if k not in axes], ZERO)
        shift = self.summed(x, axes).shift
        x = self._along(x, axes)
        terms = Terms(x.terms.scale, x.terms.sign, shift, x.terms.facts & FINITE)
        return self.plain(x.axes, terms, x.hidden, x.data)

    def _along(self, x: Plain, axes: Sequence[int]) -> Plain:
        """Return a value without axes, along which all entries must transform alike."""
        slots = [s for k in axes for s in x.axes[k]]
        self.restrict(slots, MIXING)
        removed = {s.number for s in slots}
        parts: list[Linear] = []
        for terms, sign in ((x.terms.scale, False), (x.terms.sign, True)):
            self.vanish({k: row for k, row in terms.items() if removed.intersection(k[0])}, sign)
            parts.append({k: row for k, row in terms.items() if not removed.intersection(k[0])})
        left = tuple(axis for k, axis in enumerate(x.axes) if k not in axes)
        return Plain(
            left, Terms(parts[0], parts[1], x.terms.shift, x.terms.facts), x.hidden, x.data
        )

    def _reduced(self, x: Value, axes: tuple[int, ...], rule: Any, join: Any) -> Value:
        if isinstance(x, Plain):
            return rule(x, axes)
        parts = [self._reduced(part, axes, rule, join) for part in x.parts]
        if x.axis in axes:
            return functools.reduce(join, parts)
        return Blocks(x.axis - sum(k < x.axis for k in axes), x.outer, tuple(parts))

    # --- bilinear ---

    def mul(self, x: Value, y: Value) -> Value:
        """See `Domain.mul`: factors and signs multiply; along common axes nothing mixes."""
        return self.spread(self._mul, x, y)

    def _mul(self, x: Plain, y: Plain) -> Plain:
        x, y = self.aligned([x, y], PRODUCT)
        terms = self._product(x, y)
        return self.plain(x.axes, terms, self.hidden(x, y), x.data and y.data)

    def _product(self, x: Plain, y: Plain) -> Terms:
        if x.is_zero or y.is_zero:
            return ZERO
        scale = plus(x.terms.scale, y.terms.scale)
        sign = parity_plus(x.terms.sign, y.terms.sign)
        facts = x.terms.facts & y.terms.facts & FINITE
        return Terms(scale, sign, self._shifted(x, y), facts)

    def _shifted(self, x: Plain, y: Plain) -> Linear:
        """Return the shift of a product: that of one factor, times the other.

        The shift may depend on the parameters through a factor that is left as it is. Which of two
        factors that is has to be chosen: `moving` says it.
        """
        one, other = x, y
        if y.terms.shift and (self.moving == 1 or not x.terms.shift):
            one, other = y, x
        if not one.terms.shift:
            return NOTHING
        if not other.data:
            self.blocked = True
            if self.moving is None:
                self.vanish(x.terms.shift)
                self.vanish(y.terms.shift)
                return NOTHING
            self.vanish(other.terms.shift)
            self.vanish(other.terms.scale)
        read = [s for axis in other.axes for s in axis] + list(other.hidden)
        added = [s.number for s in read if s.kind != CONSTANT]
        return self.image(one.terms.shift, set(), added, self.application(), every=True)

    def dot(self, x: Value, y: Value, batch: int, inner: int) -> Value:
        """See `Domain.dot`: what is summed over transforms oppositely in both factors."""
        n, m = len(x.shape), len(y.shape)
        if isinstance(x, Blocks) and isinstance(y, Blocks) and x.outer != y.outer:
            same = x.axis == y.axis < batch or (x.axis - n == y.axis - m and x.axis >= n - inner)
            if same:
                x, y = self.merged(x), self.merged(y)
        for left in (True, False):
            block, other = (x, y) if left else (y, x)
            if not isinstance(block, Blocks):
                continue
            axis, size = block.axis, len(block.shape)
            if axis < batch or axis >= size - inner:
                other_axis = axis if axis < batch else axis - size + len(other.shape)
                sizes = block.sizes
                if isinstance(other, Blocks) and other.axis == other_axis:
                    sizes = common(sizes, other.sizes)
                mine = self.cut(block, axis, block.outer, sizes)
                theirs = self.cut(other, other_axis, block.outer, sizes)
                parts = [
                    self.dot(*((a, b) if left else (b, a)), batch, inner)
                    for a, b in zip(mine, theirs, strict=True)
                ]
                if axis < batch:
                    return Blocks(axis, block.outer, tuple(parts))
                return functools.reduce(self.add, parts)
            parts = [
                self.dot(*((a, other) if left else (other, a)), batch, inner) for a in block.parts
            ]
            place = axis if left else n - inner + axis - batch
            return Blocks(place, block.outer, tuple(parts))
        assert isinstance(x, Plain) and isinstance(y, Plain)
        return self._dot(x, y, batch, inner)

    def _dot(self, x: Plain, y: Plain, batch: int, inner: int) -> Plain:
        n, m = len(x.axes), len(y.axes)
        if x.is_zero or y.is_zero:
            return self.filled((*x.shape[: n - inner], *y.shape[batch : m - inner]), ZERO)
        pairs = [(k, k, PRODUCT) for k in range(batch)]
        pairs += [(n - inner + k, m - inner + k, CONTRACTED) for k in range(inner)]
        x, y = self.align(x, y, pairs)
        removed = {s.number for axis in x.axes[n - inner :] for s in axis}
        terms = self._product(x, y)
        parts: list[Linear] = []
        for part, sign in ((terms.scale, False), (terms.sign, True)):
            self.vanish({k: row for k, row in part.items() if removed.intersection(k[0])}, sign)
            parts.append({k: row for k, row in part.items() if not removed.intersection(k[0])})
        # The image under the product with data; slots that are summed are gone from it.
        shift = self.image(terms.shift, removed, (), ("summed", *sorted(removed)))
        size = math.prod(s.size for axis in x.axes[n - inner :] for s in axis)
        still = {k: r for k, r in terms.shift.items() if not removed.intersection(k[0])}
        shift = {**shift, **times(still, size)}
        axes = (*x.axes[: n - inner], *y.axes[batch : m - inner])
        hidden = self.hidden(x, y)
        out = Terms(parts[0], parts[1], shift, terms.facts)
        return self.plain(axes, out, hidden, x.data and y.data)

    # --- functions ---

    def power(self, x: Value, exponent: Fraction) -> Value:
        """See `Domain.power`: factors are raised to it; a root is taken of what is not negative."""
        if isinstance(x, Blocks):
            return Blocks(x.axis, x.outer, tuple(self.power(part, exponent) for part in x.parts))
        self.no_mixing(x)
        self.vanish(x.terms.shift)
        scale = times(x.terms.scale, exponent)
        sign: Linear = NOTHING
        if exponent.denominator == 1:
            sign = x.terms.sign if exponent.numerator % 2 else NOTHING
        else:
            self.vanish(x.terms.sign, True)
        facts = x.terms.facts & FINITE if exponent > 0 else frozenset()
        terms = ZERO if x.is_zero and exponent > 0 else Terms(scale, sign, facts=facts)
        return self.plain(x.axes, terms, x.hidden, x.data)

    def apply(self, function: str, *xs: Value) -> Value:
        """See `Domain.apply`: what a function does to factors and signs is in its row."""
        return self.spread(functools.partial(self._apply, function), *xs)

    def _apply(self, function: str, *xs: Plain) -> Plain:
        aligned = self.aligned(xs, LINEAR)
        for x in aligned:
            self.no_mixing(x)
        if len(xs) > 1:
            for x in aligned:
                self.invariant(x)
            data = all(x.data for x in aligned)
            facts = FINITE if FUNCTIONS[function].kind == "truth" else frozenset()
            return self.plain(aligned[0].axes, Terms(facts=facts), self.hidden(*aligned), data)
        [x] = aligned
        return self.plain(x.axes, self._function(function, x.terms), x.hidden, x.data)

    def _function(self, function: str, old: Terms) -> Terms:
        row = FUNCTIONS[function]
        facts = old.facts & FINITE if row.total else frozenset()
        if function == "is_finite":
            return Terms(facts=old.facts & FINITE | {"true"} if facts else FINITE)
        if function == "exp":
            self.vanish(old.scale)
            self.vanish(old.sign, True)
            return Terms(scale=old.shift, facts=facts)
        self.vanish(old.shift)
        if function == "log":
            self.vanish(old.sign, True)
            return Terms(shift=old.scale)
        if row.degree is None:
            self.vanish(old.scale)
        sign: Linear = old.sign if row.parity == "odd" else NOTHING
        if not row.parity:
            self.vanish(old.sign, True)
        return Terms(times(old.scale, row.degree or 0), sign, facts=facts)

    # --- order ---

    def extremum(self, x: Value, y: Value, largest: bool) -> Value:
        """See `Domain.extremum`: both transform alike, by positive factors."""
        return self.spread(functools.partial(self._extremum, largest), x, y)

    def _extremum(self, largest: bool, x: Plain, y: Plain) -> Plain:
        never = "lowest" if largest else "highest"
        for one, other in ((x, y), (y, x)):
            if never in one.terms.facts:
                return other
        x, y = self.aligned([x, y], LINEAR)
        for part in (x, y):
            self.no_mixing(part)
            self.vanish(part.terms.sign, True)
        terms = self.equal([x.terms, y.terms])
        return self.plain(x.axes, terms, self.hidden(x, y), x.data and y.data)

    def fold(self, x: Value, kind: str, axes: tuple[int, ...]) -> Value:
        """See `Domain.fold`: one factor and one shift for all, positive where there is an order."""
        joins = {
            "max": lambda a, b: self.extremum(a, b, True),
            "min": lambda a, b: self.extremum(a, b, False),
            "product": self.mul,
            "all": lambda a, b: self.apply("and", a, b),
            "any": lambda a, b: self.apply("or", a, b),
        }
        return self._reduced(x, axes, functools.partial(self._fold, kind), joins[kind])

    def _fold(self, kind: str, x: Plain, axes: tuple[int, ...]) -> Plain:
        size = math.prod(x.shape[k] for k in axes)
        removed = {s.number for k in axes for s in x.axes[k]}
        if kind == "product":
            self.vanish(x.terms.shift)
        else:
            self.vanish(x.terms.sign, True)
            moving = {k: r for k, r in x.terms.shift.items() if removed.intersection(k[0])}
            self.vanish(moving)
        self.no_mixing(x)
        x = self._along(x, axes)
        scale, sign, shift = x.terms.scale, x.terms.sign, x.terms.shift
        if kind == "product":
            facts = x.terms.facts & FINITE
            terms = Terms(times(scale, size), sign if size % 2 else NOTHING, facts=facts)
        else:
            kept = {k: row for k, row in shift.items() if not removed.intersection(k[0])}
            terms = Terms(scale, NOTHING, kept, x.terms.facts - {"mixing"})
        return self.plain(x.axes, terms, x.hidden, x.data)

    def compare(self, kind: str, x: Value, y: Value) -> Value:
        """See `Domain.compare`: the answer is the same where both transform alike."""
        return self.spread(functools.partial(self._compare, kind), x, y)

    def _compare(self, kind: str, x: Plain, y: Plain) -> Plain:
        if x is y and "finite" in x.terms.facts:  # how JAX asks for what is not a number
            known = FINITE | {"true"} if kind in ("eq", "ge") else ZERO.facts
            return self.filled(x.shape, Terms(facts=known))
        x, y = self.aligned([x, y], LINEAR)
        for part in (x, y):
            self.no_mixing(part)
            if kind in ("gt", "ge"):
                self.vanish(part.terms.sign, True)
        self.equal([x.terms, y.terms])
        return self.plain(x.axes, INVARIANT, self.hidden(x, y), x.data and y.data)

    def select(self, which: Any, *cases: Value) -> Value:
        """See `Domain.select`: a sum of the cases, each times where it is taken."""
        return self.spread(self._select, self.lift(which), *cases)

    def _select(self, which: Plain, *cases: Plain) -> Plain:
        for taken, known in ((1, "true" in which.terms.facts), (0, which.is_zero)):
            if known:
                return cases[taken]
        self.invariant(which)
        self.no_mixing(which)
        shown = [x for x in cases if not x.is_zero] or [cases[0]]
        aligned = self.aligned(shown, LINEAR)
        terms = self.equal([x.terms for x in cases if x.is_zero] + [x.terms for x in aligned])
        pairs = [(k, k, PRODUCT) for k in range(len(which.axes))]
        first = self.plain(aligned[0].axes, terms, self.hidden(*aligned), False)
        first, which = self.align(first, which, pairs)
        data = which.data and all(x.data for x in cases)
        return self.plain(first.axes, first.terms, self.hidden(first, which), data)

    def sort(self, xs: Sequence[Value], axis: int, keys: int) -> list[Value]:
        """See `Domain.sort`: the order takes a permutation up, if nothing else is sorted along."""
        plain = [self.merged(x) for x in xs]
        aligned = self.aligned(plain, LINEAR)
        out: list[Value] = []
        for x in aligned:
            self.no_mixing(x)
            self.vanish(x.terms.sign, True)
            if len(xs) > 1:  # of equal keys the first stands first
                self.restrict(x.axes[axis], PERMUTATION)
            removed = {s.number for s in x.axes[axis]}
            for part in (x.terms.scale, x.terms.shift):
                self.vanish({k: row for k, row in part.items() if removed.intersection(k[0])})
            kept = [
                {k: row for k, row in part.items() if not removed.intersection(k[0])}
                for part in (x.terms.scale, x.terms.shift)
            ]
            terms = Terms(kept[0], NOTHING, kept[1], x.terms.facts & FINITE)
            axes = [*x.axes]
            axes[axis] = self.axis(x.shape[axis], FIXED)
            hidden = self.hidden(*aligned)
            out.append(self.plain(axes, terms, hidden, all(y.data for y in aligned)))
        return out

    def cast(self, x: Value, kind: str) -> Value:
        """See `Domain.cast`: whatever rounds keeps signs at most."""
        return self.spread(functools.partial(self._cast, kind), x)

    def _cast(self, kind: str, x: Plain) -> Plain:
        self.no_mixing(x)
        if kind not in ("real", "bit"):
            self.vanish(x.terms.scale)
            self.vanish(x.terms.shift)
            odd = kind in ("integer", "reduce_precision") or "float" in kind
            odd = odd and not kind.endswith("u")  # a float without a sign
            if not odd:  # an integer wraps around
                self.vanish(x.terms.sign, True)
            terms = Terms(sign=x.terms.sign if odd else NOTHING)
            return self.plain(x.axes, terms, x.hidden, x.data)
        terms = Terms(x.terms.scale, x.terms.sign, x.terms.shift, x.terms.facts - {"true"})
        return self.plain(x.axes, terms, x.hidden, x.data)
