"""What each primitive does to a value that changed by a common term, or by a common factor."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from symtheory.errors import SymtheoryError, UnreadableError
from symtheory.exact import rational
from symtheory.program import kind_of_type, rounds
from symtheory.symmetry.discovery._shift_movement import MOVEMENT
from symtheory.symmetry.discovery._shift_places import first_places, indexed_axes

Shape = tuple[int, ...]


class NotFollowedError(SymtheoryError):
    """The term cannot be followed through an operation; nothing is said about the loss."""


@dataclasses.dataclass(frozen=True)
class Change:
    """How an array v changes: v + rate T ("sum"), v exp(rate T) ("factor"), or not at all ("").

    Attributes:
        kind: "sum", "factor" or "".
        shape: Shape of v.
        axes: Axes along which T (or v itself, if it does not change) may vary; in the order of the
            axes of T, those of length 1 left out.
        term: Which T; of an array that does not change, which array.
        rate: The multiple of it.
        peak: Whether v contains a largest entry, or is rid of it as softmax does it.
        number: The value of a literal.
        finite: Whether it tells where something is finite: everywhere, as far as we speak of it.
        sums: What the entries along an axis sum to, where it is known.
    """

    kind: str
    shape: Shape
    axes: tuple[int, ...]
    term: int = -1
    rate: Fraction = Fraction(0)
    peak: bool = False
    number: Any = None
    finite: bool = False
    sums: Mapping[int, Fraction] = dataclasses.field(default_factory=dict, compare=False)

    def same(self, other: Change) -> bool:
        """Tell whether both change by multiples of the same term."""
        return (self.kind, self.term, self.axes) == (other.kind, other.term, other.axes)


_ARRAYS = itertools.count()


def fixed(shape: Sequence[int], axes: Sequence[int] | None = None) -> Change:
    """Return an array that does not change."""
    varying = range(len(shape)) if axes is None else axes
    kept = tuple(k for k in varying if shape[k] != 1)
    return Change("", tuple(shape), kept, next(_ARRAYS))


class Rules:
    """The rules, and the terms met so far: the same derivation gives the same term.

    Attributes:
        exponentials: How often exp was taken of the term, or of what is rid of it.
        others: How often a term cancelled outside of a softmax or log-sum-exp.
        met: Whether any operation met a value that changes.
    """

    def __init__(self) -> None:
        self._terms: dict[Any, int] = {}
        self.exponentials = self.others = 0
        self.met = False
        self._rules: dict[str, Callable[..., Change]] = {
            "add": self._add, "add_any": self._add,
            "sub": lambda p, s, a, b: self._add(p, s, a, _scaled(b, -1)),
            "neg": lambda p, s, a: _scaled(a, -1) if a.kind == "sum" else a,
            "mul": self._multiply, "div": self._divide,
            "exp": lambda p, s, a: self._through(a, "sum", "factor"),
            "log": lambda p, s, a: self._through(a, "factor", "sum"),
            "integer_pow": lambda p, s, a: _powered(a, Fraction(p["y"])),
            "square": lambda p, s, a: _powered(a, Fraction(2)),
            "sqrt": lambda p, s, a: _powered(a, Fraction(1, 2)),
            "rsqrt": lambda p, s, a: _powered(a, Fraction(-1, 2)),
            "max": self._extreme, "min": self._extreme,
            "reduce_max": lambda p, s, a: self._peak(p, s, a),
            "reduce_min": lambda p, s, a: self._peak(p, s, a),
            "reduce_sum": self._sum, "dot_general": self._dot,
            "abs": lambda p, s, a: _needed(a, "factor"),
            "sign": lambda p, s, a: fixed(_needed(a, "factor").shape),
            "is_finite": lambda p, s, a: dataclasses.replace(fixed(s), finite=True),
            "select_n": self._select,
            **dict.fromkeys(("gt", "lt", "ge", "le", "eq", "ne"), self._compare),
        }  # fmt: skip

    def new(self, key: Any, kind: str, axes: Sequence[int], shape: Shape) -> Change:
        """Return a change by the term derived in this way."""
        term = self._terms.setdefault(key, len(self._terms))
        kept = tuple(k for k in axes if shape[k] != 1)
        return Change(kind, shape, kept, term, Fraction(1))

    def apply(
        self, name: str, params: Any, inputs: list[Change], shapes: list[Shape], types: list[Any]
    ) -> list[Change]:
        """Return what becomes of the inputs.

        Raises:
            NotFollowedError: It is not known.
        """
        # An array without entries does not change, and neither does what is made of it.
        inputs = [fixed(x.shape) if 0 in x.shape else x for x in inputs]
        if all(0 in shape for shape in shapes):
            return [fixed(shape) for shape in shapes]
        if name in ("broadcast_in_dim", "reshape", "squeeze", "transpose") and not inputs[0].kind:
            return [self._moved(name, params, shapes[0], inputs)]
        if not any(x.kind for x in inputs):
            self.exponentials += name == "exp" and inputs[0].peak
            if name == "is_finite":
                return [dataclasses.replace(fixed(shapes[0]), finite=True)]
            return [fixed(shape) for shape in shapes]
        self.met = True
        if any(map(rounds, types)):
            raise NotFollowedError(f"a term that is added is rounded by {name!r}")
        if name == "convert_element_type" and kind_of_type(types[0]) == "f":
            return [inputs[0]]
        if name in MOVEMENT and name not in ("pad", "reduce_precision") and len(shapes) == 1:
            return [self._moved(name, params, shapes[0], inputs)]
        if name not in self._rules:
            raise NotFollowedError(f"a term that is added is not followed through {name!r}")
        out = self._rules[name](params, shapes[0], *inputs)
        return [dataclasses.replace(out, shape=shapes[0])]

    # --- entry by entry ---

    def _add(self, _: Any, shape: Shape, a: Change, b: Change) -> Change:
        if "factor" in (a.kind, b.kind):
            if a.same(b) and a.rate == b.rate:
                return a
            raise NotFollowedError("terms with different factors are added")
        if not (a.kind and b.kind):
            return a if a.kind else b
        if not a.same(b):
            key = ("add", a.term, a.rate, a.axes, b.term, b.rate, b.axes)
            return self.new(key, "sum", sorted({*a.axes, *b.axes}), shape)
        rate = a.rate + b.rate
        if rate:
            return dataclasses.replace(a, rate=rate, peak=False)
        peak = a.peak or b.peak
        self.others += not peak
        return dataclasses.replace(fixed(shape), peak=peak)

    def _multiply(self, _: Any, shape: Shape, a: Change, b: Change) -> Change:
        if a.kind == b.kind == "factor" and a.same(b):
            return _or_fixed(a, a.rate + b.rate, shape)
        a, b = (a, b) if a.kind else (b, a)
        if b.kind:
            raise NotFollowedError("two terms that change are multiplied")
        if a.kind == "factor":
            return a
        if b.number is not None:
            return _or_fixed(a, a.rate * rational(np.asarray(b.number)[()]), shape)
        key = ("product", a.term, a.rate, a.axes, b.term, b.axes)
        return self.new(key, "sum", sorted({*a.axes, *b.axes}), shape)

    def _divide(self, _: Any, shape: Shape, a: Change, b: Change) -> Change:
        if b.kind == "":
            if a.kind == "sum" and b.number is not None and b.number != 0:
                return _or_fixed(a, a.rate / rational(np.asarray(b.number)[()]), shape)
            return self._multiply(_, shape, a, fixed(b.shape, b.axes))
        if b.kind == "sum":
            raise NotFollowedError("it is divided by something that changes")
        return self._multiply(_, shape, a, _powered(b, Fraction(-1)))

    def _through(self, a: Change, before: str, after: str) -> Change:
        self.exponentials += before == "sum"
        return dataclasses.replace(_needed(a, before), kind=after, peak=before == "factor")

    def _extreme(self, _: Any, shape: Shape, a: Change, b: Change) -> Change:
        if a.same(b) and a.rate == b.rate:
            return a
        a, b = (a, b) if a.kind else (b, a)
        number = None if b.number is None else float(b.number)
        neutral = (-np.inf, np.inf) if a.kind == "sum" else (-np.inf, 0.0, np.inf)
        if b.kind or number not in neutral:
            raise NotFollowedError("something that changes is compared with something else")
        return a

    def _compare(self, _: Any, shape: Shape, a: Change, b: Change) -> Change:
        self._extreme(_, shape, a, b)
        return fixed(shape)

    def _select(self, _: Any, shape: Shape, which: Change, *cases: Change) -> Change:
        first = cases[0]
        if which.finite:
            return cases[1]
        if which.kind or not all(x.same(first) and x.rate == first.rate for x in cases):
            raise NotFollowedError("cases that change differently are chosen among")
        return first

    # --- sums and products of arrays ---

    def _peak(self, params: Any, shape: Shape, a: Change) -> Change:
        if set(params["axes"]) & set(a.axes):
            raise NotFollowedError("entries that change differently are compared")
        return dataclasses.replace(_reduced(a, params["axes"]), peak=True)

    def _sum(self, params: Any, shape: Shape, a: Change) -> Change:
        axes = set(params["axes"])
        if not axes & set(a.axes):
            out = _reduced(a, axes)
            count = int(np.prod([a.shape[k] for k in axes], dtype=int))
            return out if a.kind == "factor" else _or_fixed(out, out.rate * count, shape)
        _needed(a, "sum")
        rest = [k for k in range(len(a.shape)) if k not in axes]
        key = ("total", a.term, a.rate, a.axes, a.shape, tuple(sorted(axes)))
        return self.new(key, "sum", [rest.index(k) for k in sorted(a.axes) if k in rest], shape)

    def _dot(self, params: Any, shape: Shape, a: Change, b: Change) -> Change:
        (inner_a, inner_b), (batch_a, batch_b) = params["dimension_numbers"]
        if a.kind and b.kind:
            raise NotFollowedError("two terms that change are multiplied")
        free = [
            [k for k in range(len(x.shape)) if k not in (*inner, *batch)]
            for x, inner, batch in ((a, inner_a, batch_a), (b, inner_b, batch_b))
        ]
        places: list[dict[int, int]] = [{}, {}]
        for k, (i, j) in enumerate(zip(batch_a, batch_b, strict=True)):
            places[0][i] = places[1][j] = k
        for n, offset in ((0, len(batch_a)), (1, len(batch_a) + len(free[0]))):
            places[n] |= {axis: offset + k for k, axis in enumerate(free[n])}
        x, y, inner, other = (a, b, inner_a, inner_b) if a.kind else (b, a, inner_b, inner_a)
        mine, theirs = places if a.kind else places[::-1]
        uniform = not set(inner) & set(x.axes)
        if x.kind == "factor":
            if not uniform:
                raise NotFollowedError("terms with different factors are added")
            return dataclasses.replace(x, axes=tuple(mine[k] for k in x.axes), sums={})
        outside = [k for k in y.axes if k not in other]
        if uniform and len(other) == 1 and other[0] in y.sums and not outside:
            moved = dataclasses.replace(x, axes=tuple(mine[k] for k in x.axes))
            return _or_fixed(moved, x.rate * y.sums[other[0]], shape)
        axes = [*(mine[k] for k in x.axes if k in mine), *(theirs[k] for k in outside)]
        at = lambda k: x.axes.index(k) if k in x.axes else -1
        batch = zip(*((batch_a, batch_b) if a.kind else (batch_b, batch_a)), strict=True)
        pairs = [tuple(sorted((at(i), j) for i, j in part))
                 for part in (zip(inner, other, strict=True), batch)]  # fmt: skip
        key = ("contraction", x.term, x.rate, y.term, *pairs)
        return self.new(key, "sum", list(dict.fromkeys(axes)), shape)

    # --- movement ---

    def _moved(self, name: str, params: Any, shape: Shape, inputs: list[Change]) -> Change:
        """Move the places of T instead of the entries of v, and see what T has become."""
        a, rest = inputs[0], inputs[1:]
        if any(x.kind for x in rest):
            raise NotFollowedError(f"several things that change meet in {name!r}")
        joins = name in ("concatenate", "dynamic_update_slice") or name.startswith("scatter")
        fill = params.get("fill_value")
        if a.kind and (joins or (fill is not None and np.isfinite(fill))):
            raise NotFollowedError(f"what changes and what does not are joined by {name!r}")
        others = first_places([x.shape for x in rest])
        if all(x.number is not None for x in rest):
            others = [np.asarray(x.number) for x in rest]
        elif set(indexed_axes(name, a.shape, params) or a.axes) & set(a.axes):
            raise NotFollowedError(f"a term that is added is not followed through {name!r}")
        sizes = [a.shape[k] for k in a.axes]
        order = np.argsort(a.axes)
        table = np.arange(int(np.prod(sizes, dtype=int))).reshape(sizes).transpose(order)
        spread = [n if k in a.axes else 1 for k, n in enumerate(a.shape)]
        places = np.broadcast_to(table.reshape(spread), a.shape)
        try:
            out = np.asarray(MOVEMENT[name](places, *others, **params))
        except UnreadableError as error:
            raise NotFollowedError(str(error)) from error
        varying = [k for k in range(out.ndim) if out.size and np.any(out != out.take([0], k))]
        if not a.kind:
            return fixed(shape, varying)
        core = out[tuple(slice(None) if k in varying else 0 for k in range(out.ndim))]
        whole = sorted(sizes) == sorted(core.shape)
        if whole and core.size == table.size:
            axes = _matched(core, sizes, varying)
            if axes is not None:
                return dataclasses.replace(a, shape=shape, axes=axes, sums={})
        key = ("moved", a.term, a.kind, a.rate, core.shape, core.tobytes())
        return dataclasses.replace(self.new(key, a.kind, varying, shape), peak=a.peak)


def _matched(core: np.ndarray, sizes: Sequence[int], varying: Sequence[int]) -> Any:
    """Return where the axes of T went, if its entries were only transposed."""
    strides = [int(np.prod(sizes[k + 1 :], dtype=int)) for k in range(len(sizes))]
    found = []
    for size, stride in zip(sizes, strides, strict=True):
        line = np.arange(size) * stride
        at = [k for k in range(core.ndim) if np.array_equal(np.moveaxis(core, k, 0)[
            (slice(None), *[0] * (core.ndim - 1))], line)]  # fmt: skip
        if len(at) != 1:
            return None
        found.append(at[0])
    expected = np.arange(core.size).reshape(sizes).transpose(np.argsort(found))
    return tuple(varying[k] for k in found) if np.array_equal(core, expected) else None


def _needed(a: Change, kind: str) -> Change:
    if a.kind != kind:
        raise NotFollowedError("a function is applied to something that changes")
    return a


def _scaled(a: Change, rate: int) -> Change:
    return dataclasses.replace(a, rate=a.rate * rate) if a.kind == "sum" else a


def _powered(a: Change, power: Fraction) -> Change:
    _needed(a, "factor")
    return _or_fixed(a, a.rate * power, a.shape)


def _or_fixed(a: Change, rate: Fraction, shape: Shape) -> Change:
    if not rate:
        return fixed(shape)
    return dataclasses.replace(a, rate=rate, peak=False, shape=shape, sums={})


def _reduced(a: Change, axes: Any) -> Change:
    rest = [k for k in range(len(a.shape)) if k not in axes]
    shape = tuple(a.shape[k] for k in rest)
    return dataclasses.replace(a, shape=shape, axes=tuple(rest.index(k) for k in a.axes), sums={})
