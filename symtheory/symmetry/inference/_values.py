"""What is known of a value: which unit of a parameter each axis counts, and how it transforms.

Every axis is a product of slots, in row-major order. A slot stands for an atom (a factor of an axis
of a parameter), is `FIXED` (the entries along it do not move), or `CONSTANT` (they are all the
same). Under the rescalings and shifts that are looked for, a value v becomes

    sign * exp(scale) * v + shift,

with `scale`, `sign` and `shift` linear in unknown arrays of the parameters (`Terms`).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

ATOM, FIXED, CONSTANT = "atom", "fixed", "constant"

Key = tuple[tuple[int, ...], int]
"""The slots along which a term varies, and the linear map it went through (0: none)."""
Linear = Mapping[Key, Mapping[int, Any]]
"""Unknown arrays by key, with their coefficients."""

NOTHING: Linear = {}


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Slot:
    """A factor of an axis.

    Attributes:
        number: Its identity: the same number in two values means the same index.
        size: How many entries, at least 2, or 0.
        kind: `ATOM`, `FIXED` or `CONSTANT`.
        atom: The number of the atom, -1 if there is none.
    """

    number: int
    size: int
    kind: str
    atom: int = -1


Slots = tuple[Slot, ...]


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Terms:
    """How the entries of a value transform, and facts that hold for all of them.

    A constant 0 transforms by any factor and sign, an infinite one by any positive factor and
    shift: the facts "scale", "sign", "shift", "mixing" say that any of these would do. Others:
    "zero", "lowest" (-inf), "highest" (inf), "finite" (a real number for all parameters and
    samples), "true" (a truth value that is always true). A fact may be missing.
    """

    scale: Linear = dataclasses.field(default_factory=dict)
    sign: Linear = dataclasses.field(default_factory=dict)
    shift: Linear = dataclasses.field(default_factory=dict)
    facts: frozenset[str] = frozenset()

    def renamed(self, mapping: Mapping[int, tuple[int, ...]]) -> Terms:
        """Return the terms with slots replaced by others."""
        if not mapping or not (self.scale or self.sign or self.shift):
            return self
        scale, sign, shift = (renamed(x, mapping) for x in (self.scale, self.sign, self.shift))
        return Terms(scale, sign, shift, self.facts)

    def same_as(self, other: Terms) -> bool:
        """Tell whether the terms are equal as they stand."""
        return (self.scale, self.sign, self.shift, self.facts) == (
            other.scale, other.sign, other.shift, other.facts,
        )  # fmt: skip


FINITE = frozenset({"finite"})
ZERO = Terms(facts=frozenset({"scale", "sign", "mixing", "finite", "zero"}))
INVARIANT = Terms(facts=FINITE)


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Plain:
    """A value whose entries all transform by one rule.

    Attributes:
        axes: The slots of each axis (none for an axis of size one).
        terms: How the entries transform.
        hidden: Slots it depends on beside its axes: the steps of the scans it stands in.
        data: Whether it depends on no parameter.
    """

    axes: tuple[Slots, ...]
    terms: Terms = INVARIANT
    hidden: Slots = ()
    data: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return tuple(math.prod(s.size for s in axis) for axis in self.axes)

    @property
    def is_zero(self) -> bool:
        """Whether it is the constant 0."""
        return "zero" in self.terms.facts


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Blocks:
    """Values one after the other along an axis.

    The axis is read as (outer, rest); the parts stand one after the other along `rest`, so that
    a projection that holds (query, key, value) for every head is a `Blocks` with outer = heads.
    """

    axis: int
    outer: int
    parts: tuple[Any, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of the parts along `rest`."""
        return tuple(part.shape[self.axis] // self.outer for part in self.parts)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        shape = list(self.parts[0].shape)
        shape[self.axis] = sum(part.shape[self.axis] for part in self.parts)
        return tuple(shape)


Value = Plain | Blocks


def pieces(x: Value) -> Iterable[Plain]:
    """Yield the plain values that a value consists of."""
    if isinstance(x, Plain):
        yield x
    else:
        for part in x.parts:
            yield from pieces(part)


# --- linear terms ------------------------------------------------------------------------------


def renamed(x: Linear, mapping: Mapping[int, tuple[int, ...]]) -> Linear:
    """Return terms with slots replaced by others."""
    out: dict[Key, Mapping[int, Any]] = {}
    for (tokens, chain), row in x.items():
        new = tuple(itertools.chain.from_iterable(mapping.get(t, (t,)) for t in tokens))
        if not chain:  # unknown arrays know their own axes; only images are ordered
            new = tuple(sorted(new))
        key = (new, chain)
        out[key] = _sum(out[key], row, 1) if key in out else row
    return {key: row for key, row in out.items() if row}


def _sum(a: Mapping[int, Any], b: Mapping[int, Any], factor: Any) -> dict[int, Any]:
    out = dict(a)
    for k, c in b.items():
        value = out.get(k, 0) + factor * c
        if value:
            out[k] = value
        else:
            out.pop(k, None)
    return out


def plus(a: Linear, b: Linear, factor: Any = 1) -> Linear:
    """Return a + factor b."""
    if not b:
        return a
    if not a and factor == 1:
        return b
    out = dict(a)
    for key, row in b.items():
        total = _sum(out.get(key, {}), row, factor)
        if total:
            out[key] = total
        else:
            out.pop(key, None)
    return out


def times(a: Linear, factor: Any) -> Linear:
    """Return a multiple."""
    if not factor:
        return NOTHING
    if factor == 1:
        return a
    return {key: {k: c * factor for k, c in row.items()} for key, row in a.items()}


def parity_plus(a: Linear, b: Linear) -> Linear:
    """Return a + b modulo 2."""
    if not b:
        return a
    out = dict(a)
    for key, row in b.items():
        have = out.get(key, {})
        total = {k: 1 for k in have.keys() ^ row.keys()}
        if total:
            out[key] = total
        else:
            out.pop(key, None)
    return out


# --- constants ---------------------------------------------------------------------------------


def constant_along(value: np.ndarray, axis: int) -> bool:
    """Tell whether an array does not change along an axis."""
    if value.strides[axis] == 0 or value.shape[axis] <= 1:
        return True
    first = np.take(value, [0], axis)
    same = value == first
    if value.dtype.kind == "f":
        same |= np.isnan(value) & np.isnan(first)
    return bool(np.all(same))


def thin(value: np.ndarray) -> np.ndarray:
    """Return the array without what only repeats (axes of stride 0)."""
    return value[tuple(slice(0, 1) if s == 0 else slice(None) for s in value.strides)]


def facts_of(value: np.ndarray) -> frozenset[str]:
    """Return the facts of a constant (see `Terms`)."""
    if not value.size:
        return frozenset({"scale", "sign", "shift", "mixing", "finite"})
    kinds = set()
    if value.dtype.kind == "f":
        nan, inf = np.isnan(value), np.isinf(value)
        for name, mask in (("nan", nan), ("inf", inf), ("zero", value == 0)):
            if np.any(mask):
                kinds.add(name)
        if not np.all(nan | inf | (value == 0)):
            kinds.add("number")
    else:
        kinds = {"zero"} if not np.any(value) else {"number"}
    out = set()
    if value.dtype.kind == "b" and np.all(value):
        out.add("true")
    if kinds == {"inf"} and np.all(value == value.flat[0]):
        out.add("lowest" if value.flat[0] < 0 else "highest")
    for name, allowed in (
        ("zero", {"zero"}),
        ("finite", {"zero", "number"}),
        ("scale", {"nan", "inf", "zero"}),
        ("sign", {"nan", "zero"}),
        ("shift", {"nan", "inf"}),
        ("mixing", {"nan", "zero"}),
    ):
        if kinds <= allowed:
            out.add(name)
    return frozenset(out)


Number = int | Fraction
