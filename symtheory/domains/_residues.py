"""The domain *residues*: numbers mod a prime beside rigorous enclosures, at many points at once.

Points are a leading axis of the arrays themselves: trace with `jax.vmap` first. Residues count
(a rank mod p is at most the rank over Q); enclosures decide comparisons, so that each piece of a
piecewise rational loss is read exactly, and carry the losses that have no residues.

A comparison that the enclosures leave open makes the radius of whatever depends on it infinite; so
does a division by what may be zero. What has an infinite radius is unknown, its residue too.

Two numbers tie for certain in two cases only: both are copies of one entry of one value (`source`),
as in the derivative of a maximum; or neither depends on the inputs that vary, and both are known
exactly. Equal values of two functions of the parameters may be an accident of the point, where a
derivative means nothing, and are left open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from symtheory.domains import _enclosures as enclosures
from symtheory.domains._domain import spoken
from symtheory.domains._enclosures import Enclosure
from symtheory.domains._numbers import (
    Numbers,
    concatenate,
    from_fractions,
    together,
    unknown_where,
)
from symtheory.domains._residue_arithmetic import ResidueArithmetic
from symtheory.linear_algebra._modular import PRIME
from symtheory.program._known import select_known, wrapped
from symtheory.program._types import kind_of_type


class Residues(ResidueArithmetic):
    """Arrays of `Numbers`.

    Args:
        enclosed: Whether there are enclosures. Without them nothing can be compared.
        decisions: What comparisons come out as, one after the other, as `decisions` of another
            evaluation of the same program has it. With them a piece of a piecewise rational
            function is continued to points at which another piece holds.
        pieces: Whether the decisions will be taken elsewhere: then a maximum of equal numbers is
            unknown, as it does not say which piece is meant.

    Attributes:
        decisions: What comparisons came out as, in the order of the computation.

    >>> import jax
    >>> from symtheory.program import evaluate, lower
    >>> program = lower(jax.make_jaxpr(lambda x: jax.nn.relu(x) ** 2 / 3)(np.ones(2)))
    >>> [out] = evaluate(program, Residues(), [from_fractions(np.array([-1, 2]))])
    >>> out.residues * 3 % PRIME, out.values.round(4), bool(out.errors.max() < 1e-15)
    (array([0, 4]), array([0.    , 1.3333]), True)
    """

    name = "residues"

    def __init__(
        self,
        enclosed: bool = True,
        decisions: Sequence[np.ndarray] | None = None,
        pieces: bool = False,
    ) -> None:
        self.enclosed = enclosed
        self._pieces = pieces
        self.decisions: list[np.ndarray] = []
        self._given = None if decisions is None else iter(decisions)

    # --- functions ---

    def apply(self, function: str, *xs: Numbers) -> Numbers:
        """See `Domain.apply`."""
        if function in _STEPS:
            return self._decided(lambda: enclosures.step(self._enclosure(xs[0], function),
                                                         _STEPS[function]))  # fmt: skip
        if function in ("and", "or", "xor", "not"):
            return self._logical(function, *xs)
        if function == "abs":
            return self.extremum(xs[0], self.scale(xs[0], Fraction(-1)), True)
        if function == "sign":
            zero = self.constant(np.zeros(xs[0].shape))
            return self._decided(lambda: Enclosure(*self._order(xs[0], zero)))
        if function == "is_finite":
            return self._decided(lambda: self._finite(xs[0]))
        if function in ("quotient", "rem"):
            return self._decided(lambda: self._divided(function, xs[0], xs[1]))
        parts = [self._enclosure(x, spoken(function)) for x in xs]
        with np.errstate(all="ignore"):
            if function == "pow":
                return self._general_power(xs[0], xs[1])
            return self._entrywise(None, enclosures.apply(function, *parts), *xs)

    def _general_power(self, x: Numbers, y: Numbers) -> Numbers:
        base, exponent = (self._enclosure(z, "a power") for z in (x, y))
        found = np.unique(exponent.middle)
        if exponent.radius.any() or len(found) != 1 or found[0] != np.rint(found[0]):
            return self._entrywise(None, enclosures.general_power(base, exponent), x, y)
        return self.power(x, Fraction(int(found[0])))

    def _finite(self, x: Numbers) -> Enclosure:
        enclosure = self._enclosure(x, "whether a value is finite")
        finite = np.isfinite(enclosure.middle) & np.isfinite(enclosure.radius)
        return Enclosure(finite.astype(float), np.where(np.isfinite(enclosure.radius), 0.0, np.inf))

    def _divided(self, function: str, x: Numbers, y: Numbers) -> Enclosure:
        """Divide whole numbers that are known."""
        (a, sure), (b, also) = self._whole(x), self._whole(y)
        safe = np.where(b == 0, 1, b)
        rest = np.fmod(a, safe)
        out = rest if function == "rem" else (a - rest) // safe
        return Enclosure(out.astype(float), np.where(sure & also & (b != 0), 0.0, np.inf))

    # --- order ---

    def _decided(self, decide: Callable[[], Enclosure]) -> Numbers:
        """Return whole numbers that are constant near the point, and take them down.

        With decisions that were given, these are taken instead.
        """
        if self._given is not None:
            out = next(self._given)
            self.decisions.append(out)
            return from_fractions(out.astype(np.int64), self.enclosed)
        with np.errstate(all="ignore"):
            enclosure = decide()
        large = ~(np.abs(enclosure.middle) < 2.0**53)
        if large.any():
            enclosure = Enclosure(
                np.where(large, 0.0, enclosure.middle), np.where(large, np.inf, enclosure.radius)
            )
        whole = enclosure.middle.astype(np.int64)
        self.decisions.append(whole)
        return Numbers(whole % PRIME, enclosure)

    def _order(self, x: Numbers, y: Numbers) -> tuple[np.ndarray, np.ndarray]:
        """Return the signs of x - y, with radius 0 where they are certain and else infinity."""
        pair = [self._enclosure(z, "a comparison") for z in (x, y)]
        with np.errstate(all="ignore"):
            signs, certain = enclosures.order(*pair)
        tied = (signs == 0) & certain
        if tied.any() and not self._constants(x, y):
            source = [0 if z.source is None else z.source for z in (x, y)]
            certain = certain & ~(tied & ((source[0] != 0) | (source[1] != 0)))
        if x.source is not None and y.source is not None:
            same = (x.source == y.source) & (x.source != 0)
            same &= np.isfinite(pair[0].radius)
            if same.any():
                signs, certain = np.where(same, 0.0, signs), certain | same
        return signs, np.where(certain, 0.0, np.inf)

    def compare(self, kind: str, x: Numbers, y: Numbers) -> Numbers:
        """See `Domain.compare`."""

        def decide() -> Enclosure:
            signs, radius = self._order(x, y)
            answer = {"gt": signs > 0, "ge": signs >= 0, "eq": signs == 0, "ne": signs != 0}[kind]
            return Enclosure(answer.astype(float), radius)

        return self._decided(decide)

    def extremum(self, x: Numbers, y: Numbers, largest: bool) -> Numbers:
        """See `Domain.extremum`."""
        greater = self.compare("gt" if largest else "ge", x, y)
        out = self.select(greater, y, x) if largest else self.select(greater, x, y)
        if greater.enclosure is None or not greater.errors.any() or self._pieces:
            return out
        # Equal numbers, and numbers without residues, have an extremum whatever their order is.
        pair = [self._enclosure(z, "a comparison") for z in (x, y)]
        either = enclosures.larger(pair[0], pair[1], largest)
        equal = pair[0].exact & pair[1].exact & (pair[0].middle == pair[1].middle)
        known = (greater.errors == 0) | equal if out.residues is not None else True
        new = self._result(None, either, x, y).source
        old = np.zeros(out.shape, dtype=np.int64) if out.source is None else out.source
        assert out.enclosure is not None
        decided = greater.errors == 0
        radius = np.where(decided, out.errors, np.where(known, either.radius, np.inf))
        return Numbers(
            out.residues,
            Enclosure(np.where(decided, out.values, either.middle), radius),
            np.where(decided, old, 0 if new is None else new),
        )

    def fold(self, x: Numbers, kind: str, axes: tuple[int, ...]) -> Numbers:
        """See `Domain.fold`: pairs of halves, until one entry is left."""
        rest = [k for k in range(len(x.shape)) if k not in axes]
        shape = [x.shape[k] for k in rest]
        count = math.prod(x.shape[k] for k in axes)
        x = x.map(lambda a: a.transpose([*axes, *rest]).reshape(count, *shape))
        pair: Callable[[Numbers, Numbers], Numbers] = {
            "max": lambda a, b: self.extremum(a, b, True),
            "min": lambda a, b: self.extremum(a, b, False),
            "product": self.mul,
            "all": lambda a, b: self._logical("and", a, b),
            "any": lambda a, b: self._logical("or", a, b),
        }[kind]
        while count > 1:
            half = count // 2
            joined = pair(x[:half], x[half : 2 * half])
            x = concatenate([joined, x[2 * half :]], 0) if count % 2 else joined
            count -= half
        return x[0]

    def _logical(self, function: str, *xs: Numbers) -> Numbers:
        """Combine truth values; one that decides the answer alone leaves the other open."""
        a = xs[0].residues != 0  # type: ignore[operator]
        b = xs[-1].residues != 0  # type: ignore[operator]
        out = {"and": a & b, "or": a | b, "xor": a ^ b, "not": ~a}[function]
        if any(x.enclosure is None for x in xs):
            return Numbers(out.astype(np.int64), None)
        known = [x.errors == 0 for x in xs]
        certain = known[0] & known[-1]
        if function == "and":
            certain |= (known[0] & ~a) | (known[-1] & ~b)
        elif function == "or":
            certain |= (known[0] & a) | (known[-1] & b)
        answer = out.astype(np.int64)
        return Numbers(answer, Enclosure(answer.astype(float), np.where(certain, 0.0, np.inf)))

    def select(self, which: Any, *cases: Numbers) -> Numbers:
        """See `Domain.select`."""
        chosen, certain = self._whole(which)
        chosen = np.clip(chosen, 0, len(cases) - 1)
        out = together(lambda parts: select_known(chosen, *parts), cases)
        return out if certain.all() else unknown_where(out, ~certain)

    def sort(self, xs: Sequence[Numbers], axis: int, keys: int) -> list[Numbers]:
        """See `Domain.sort`; neighbours that may change places make all along the axis unknown."""
        moved = [x.map(lambda a: np.moveaxis(a, axis, -1)) for x in xs]

        def decide() -> Enclosure:
            columns = [self._enclosure(x, "sorting").middle for x in moved[:keys]]
            places = np.lexsort(columns[::-1], axis=-1)
            ordered = [x.map(lambda a: np.take_along_axis(a, places, -1)) for x in moved[:keys]]
            certain = np.zeros(places.shape[:-1], dtype=bool)
            tied = np.ones((*places.shape[:-1], max(places.shape[-1] - 1, 0)), dtype=bool)
            less = np.zeros_like(tied)
            for x in ordered:
                signs, radius = self._order(x[..., :-1], x[..., 1:])
                less |= tied & (signs < 0) & (radius == 0)
                tied &= (signs == 0) & (radius == 0)
            certain = np.all(less | tied, axis=-1)
            radius = np.where(certain[..., None], 0.0, np.inf)
            return Enclosure(places.astype(float), np.broadcast_to(radius, places.shape))

        if not moved[0].shape[-1]:
            return list(xs)
        places, certain = self._whole(self._decided(decide))
        order = self.decisions[-1] if self._given is not None else places
        order = np.where(certain, order, np.arange(order.shape[-1]))
        out = [x.map(lambda a: np.take_along_axis(a, order, -1)) for x in moved]
        if not certain.all():
            out = [unknown_where(x, ~certain) for x in out]
        return [x.map(lambda a: np.moveaxis(a, -1, axis)) for x in out]

    def cast(self, x: Numbers, kind: str) -> Numbers:
        """See `Domain.cast`."""
        if kind in ("real", "bit"):
            return x
        if kind == "integer":
            return self._decided(lambda: enclosures.step(self._enclosure(x, _CAST), np.trunc))
        if kind == "reduce_precision" or kind_of_type(kind) not in "iu":
            self.refuse(f"a cast to {kind}, which rounds")

        def wrap() -> Enclosure:
            self._enclosure(x, _CAST)
            whole, certain = self._whole(x)
            radius = np.where(certain, 0.0, np.inf)
            return Enclosure(wrapped(whole, kind).astype(float), radius)

        return self._decided(wrap)


_CAST = "a cast to integers"
_STEPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "floor": np.floor, "ceil": np.ceil, "round": np.rint, "trunc": np.trunc,
}  # fmt: skip
