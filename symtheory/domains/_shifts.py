"""The domain *shifts*: what a term that is added to some parameters does to every entry.

Every entry v of the computation turns into v + t, into v exp(t), or stays as it is, where t is a
combination of unknown terms with rational rates. The terms stand for any numbers, so that a loss
which stays as it is does so for every term: for one that depends on other parameters as well. In
x - mean(x), x - max(x) or log(sum(exp(x))) - x_k the terms cancel.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, final

import numpy as np

from symtheory.domains import _movement
from symtheory.domains._combinations import MOST, Combinations, NotFollowedError
from symtheory.domains._domain import Domain
from symtheory.exact import rational
from symtheory.program import FUNCTIONS
from symtheory.program._known import choose_known, select_known


@dataclasses.dataclass(frozen=True)
class Changed:
    """How the entries of an array change.

    Attributes:
        kind: "sum" for v + t, "factor" for v exp(t), "" where no entry changes.
        terms: For each entry the number of its combination of terms, 0 for none; where no entry
            changes, numbers that are equal only for entries that are equal.
        value: The entries, where they are constants.
        peak: Whether a largest entry was added or taken away, as in a softmax.
        finite: Whether it tells where something is finite.
        sums: What the entries along an axis sum to, where it is known.
    """

    kind: str
    terms: np.ndarray
    value: np.ndarray | None = None
    peak: bool = False
    finite: bool = False
    sums: Mapping[int, Fraction] = dataclasses.field(default_factory=dict)


@final
class Shifts(Domain):
    """What becomes of every entry when terms are added to parameters.

    Attributes:
        exponentials: How often exp was taken of a term, or of what is rid of it.
        others: How often a term cancelled outside of a softmax or log-sum-exp.

    >>> import jax
    >>> from symtheory.program import read_function
    >>> domain = Shifts()
    >>> logits = domain.shifted((3,), axes=(0,))
    >>> struct = jax.ShapeDtypeStruct((3,), float)
    >>> read_function(lambda x: -jax.nn.log_softmax(x)[1], [struct], domain, [logits]).kind
    ''
    """

    name = "shifts"

    def __init__(self) -> None:
        self._all = Combinations()
        self._entries = itertools.count()
        self.exponentials = self.others = 0

    # --- terms ---

    def fixed(self, shape: Sequence[int], sums: Mapping[int, Fraction] | None = None) -> Changed:
        """Return an array that does not change."""
        start = next(self._entries) << 32
        numbers = start + np.arange(math.prod(shape), dtype=np.int64).reshape(shape)
        return Changed("", numbers, sums=sums or {})

    def shifted(self, shape: Sequence[int], axes: Sequence[int]) -> Changed:
        """Return an array to which terms are added that are constant along axes."""
        own = [1 if k in axes else n for k, n in enumerate(shape)]
        terms = np.array([self._all.new() for _ in range(math.prod(own))], dtype=np.int64)
        terms = terms.reshape(own)
        return self._changed("sum", np.broadcast_to(terms, shape))

    def _changed(self, kind: str, terms: np.ndarray, peak: bool = False) -> Changed:
        if not np.any(terms):
            return dataclasses.replace(self.fixed(terms.shape), peak=peak)
        return Changed(kind, terms, peak=peak)

    def _terms(self, x: Changed) -> np.ndarray:
        """Return the terms of what may not change: 0 there."""
        return x.terms if x.kind else np.zeros_like(x.terms)

    def _give_up(self, why: str) -> Any:
        raise NotFollowedError(f"a term that is added is not followed: {why}")

    # --- values ---

    def constant(self, value: Any) -> Changed:
        """Return entries that do not change, and their values."""
        if not isinstance(value, (np.ndarray, np.generic, float, int)):
            self.refuse("sizes that are names", instead="bind the sizes first")
        array = np.asarray(value)
        return dataclasses.replace(self.fixed(array.shape), value=array)

    def shape(self, value: Changed) -> tuple[int, ...]:
        """Return the shape of a value."""
        return value.terms.shape

    # --- movement ---

    def _moved(self, x: Changed, move: Callable[[np.ndarray], np.ndarray]) -> Changed:
        value = None if x.value is None else move(x.value)
        return dataclasses.replace(x, terms=move(x.terms), value=value, sums={})

    def transpose(self, x: Changed, permutation: tuple[int, ...]) -> Changed:
        """See `Domain.transpose`."""
        sums = {permutation.index(axis): total for axis, total in x.sums.items()}
        moved = self._moved(x, lambda a: np.transpose(a, permutation))
        return dataclasses.replace(moved, sums=sums)

    def reshape(self, x: Changed, shape: tuple[int, ...]) -> Changed:
        """See `Domain.reshape`; axes of size 1 are dropped or added without loss."""
        old = x.terms.shape
        moved = self._moved(x, lambda a: np.reshape(a, shape))
        places = [[k for k, n in enumerate(s) if n != 1] for s in (old, shape)]
        if [old[k] for k in places[0]] != [shape[k] for k in places[1]]:
            return moved
        at = dict(zip(*places, strict=True))
        return dataclasses.replace(moved, sums={at[k]: s for k, s in x.sums.items() if k in at})

    def broadcast(self, x: Changed, shape: Any, axes: tuple[int, ...]) -> Changed:
        """See `Domain.broadcast`."""
        moved = self._moved(x, lambda a: _movement.broadcast(a, shape, axes))
        return dataclasses.replace(moved, sums={axes[k]: total for k, total in x.sums.items()})

    def _filled(self, x: Changed, fill: Changed | None, move: Callable[..., Any]) -> Changed:
        """Move entries; where one is missing the entry `fill` stands, which may not change."""
        if fill is None:
            return self._moved(x, lambda a: move(a, None))
        if not x.kind and not fill.kind:
            value = None
            if x.value is not None and fill.value is not None:
                value = move(x.value, fill.value.astype(x.value.dtype))
            return dataclasses.replace(x, terms=move(x.terms, fill.terms), value=value, sums={})
        if fill.kind not in ("", x.kind) and x.kind:
            return self._give_up("entries that change differently are joined")
        terms = move(self._terms(x), self._terms(fill))
        return self._changed(x.kind or fill.kind, terms, x.peak)

    def take(self, x: Changed, places: np.ndarray, axis: int, fill: Any = None) -> Changed:
        """See `Domain.take`."""
        return self._filled(x, fill, lambda a, f: _movement.take(a, places, axis, f))

    def pick(self, x: Changed, places: np.ndarray, fill: Any = None) -> Changed:
        """See `Domain.pick`."""
        return self._filled(x, fill, lambda a, f: _movement.pick(a, places, f))

    def concatenate(self, xs: Sequence[Changed], axis: int) -> Changed:
        """See `Domain.concatenate`."""
        kind = self._kind(*xs)
        if kind:
            terms = np.concatenate([self._terms(x) for x in xs], axis)
            return self._changed(kind, terms, any(x.peak for x in xs))
        values = [x.value for x in xs if x.value is not None]
        value = np.concatenate(values, axis) if len(values) == len(xs) else None
        return Changed("", np.concatenate([x.terms for x in xs], axis), value)

    def choose(self, x: Changed, index: Any, axis: int, batch: int, fill: Any = None) -> Changed:
        """See `Domain.choose`: all that an unknown place may point at must change alike."""
        if isinstance(index, np.ndarray):
            return self._filled(
                x, fill,
                lambda a, f: choose_known(a, index, None if f is None else f[()], axis=axis,
                                          batch=batch),
            )  # fmt: skip
        own = index.terms.shape[batch:]
        rest = (*x.terms.shape[:axis], *x.terms.shape[axis + 1 :])
        shape = (*rest[:axis], *own, *rest[axis:])
        if not self._kind(x, index):
            return self.fixed(shape)
        if index.kind:
            return self._give_up("it moves the places of entries")
        one = self._alike(x, (axis,))
        if fill is not None and not (fill.value is not None and np.isnan(fill.value[()])):
            self._require_same(one, self.fixed(()))
        where = [axis + k for k in range(len(own))]
        spread = np.broadcast_to(np.expand_dims(one.terms, where), shape)
        return dataclasses.replace(one, terms=spread)

    # --- what changes alike ---

    def _kind(self, *xs: Changed) -> str:
        kinds = {x.kind for x in xs if x.kind}
        if len(kinds) > 1:
            self._give_up("something changes by a term and something by a factor")
        return next(iter(kinds), "")

    def _alike(self, x: Changed, axes: tuple[int, ...]) -> Changed:
        """Return how the entries along axes change, which must be alike."""
        index = tuple(slice(0, 1) if k in axes else slice(None) for k in range(x.terms.ndim))
        first = x.terms[index]
        if x.kind and np.any(x.terms != first):
            self._give_up("entries that change differently are compared, summed or chosen among")
        shape = tuple(n for k, n in enumerate(x.terms.shape) if k not in axes)
        if not x.kind or not first.size:
            return self.fixed(shape)
        return Changed(x.kind, first.reshape(shape), peak=x.peak)

    def _require_same(self, x: Changed, y: Changed) -> None:
        self._kind(x, y)
        if np.any(self._terms(x) != self._terms(y)):
            self._give_up("what changes differently is compared, added or chosen among")

    # --- arithmetic ---

    def add(self, x: Changed, y: Changed) -> Changed:
        """See `Domain.add`: terms add up; factors must be the same."""
        kind = self._kind(x, y)
        if not kind:
            peak = x.peak or y.peak
            return dataclasses.replace(self.fixed(x.terms.shape), peak=peak)
        if kind == "factor":
            for one, other in ((x, y), (y, x)):
                if not other.kind and other.value is not None and not np.any(other.value):
                    return one
            self._require_same(x, y)
            return x
        if not (x.kind and y.kind):
            return dataclasses.replace(x if x.kind else y, sums={})
        terms = self._all.pairs(self._all.plus, x.terms, y.terms)
        if np.any(terms):
            return Changed("sum", terms)
        peak = x.peak or y.peak
        self.others += not peak
        return self._changed("sum", terms, peak)

    def mul(self, x: Changed, y: Changed) -> Changed:
        """See `Domain.mul`: a factor stays, a term is multiplied by what does not change."""
        kind = self._kind(x, y)
        if not kind:
            return self.fixed(x.terms.shape)
        if kind == "factor":
            return self._changed(
                kind, self._all.pairs(self._all.plus, self._terms(x), self._terms(y))
            )
        if x.kind and y.kind:
            return self._give_up("two terms are multiplied")
        x, y = (x, y) if x.kind else (y, x)
        if y.value is None:
            return self._changed(kind, self._all.pairs(self._all.product, x.terms, y.terms))
        numbers, places = self._rational_entries(y.value)
        rule = lambda a, b: self._all.combined((a, numbers[b]))
        return self._changed(kind, self._all.pairs(rule, x.terms, places))

    def _rational_entries(self, value: np.ndarray) -> tuple[list[Fraction], np.ndarray]:
        found, inverse = np.unique(value, return_inverse=True)
        return [_fraction(n) for n in found], inverse.reshape(value.shape)

    def scale(self, x: Changed, factor: Fraction) -> Changed:
        """See `Domain.scale`."""
        if not x.kind:
            return dataclasses.replace(self.fixed(x.terms.shape), peak=x.peak)
        if x.kind == "factor":
            return x
        rule = lambda a, _: self._all.combined((a, factor))
        return Changed("sum", self._all.pairs(rule, x.terms, np.zeros((), dtype=int)), peak=x.peak)

    def dot(self, x: Changed, y: Changed, batch: int, inner: int) -> Changed:
        """See `Domain.dot`: the terms of a row, each times the entry of the column."""
        groups, summed = x.terms.shape[:batch], x.terms.shape[x.terms.ndim - inner :]
        rows = x.terms.shape[batch : x.terms.ndim - inner]
        columns = y.terms.shape[batch : y.terms.ndim - inner]
        shape = (*groups, *rows, *columns)
        kind = self._kind(x, y)
        if not kind:
            return self.fixed(shape)
        if kind == "sum" and x.kind and y.kind:
            return self._give_up("two terms are multiplied")
        swapped = not x.kind
        if swapped:
            x, y, rows, columns = y, x, columns, rows
        arranged = lambda a, own: a.reshape(math.prod(groups), math.prod(own), math.prod(summed))
        left, left_at = _unique_rows(arranged(x.terms, rows))
        right, right_at = _unique_rows(arranged(y.terms, columns))
        pairs = left_at[:, :, None] * len(right) + right_at[:, None, :]
        found, inverse = np.unique(pairs, return_inverse=True)
        if len(found) * left.shape[-1] > MOST:
            self._give_up("too many entries change differently")
        total = y.sums.get(y.terms.ndim - 1) if inner == 1 else None
        weights: dict[int, list[Fraction]] = {}
        if y.value is not None and kind == "sum":
            _, firsts = np.unique(right_at, return_index=True)
            entries = arranged(y.value, columns).reshape(-1, left.shape[-1])
            weights = {k: [_fraction(n) for n in entries[place]] for k, place in enumerate(firsts)}

        def number(pair: int) -> int:
            mine, column = left[pair // len(right)].tolist(), pair % len(right)
            theirs = right[column].tolist()
            if kind == "factor":
                theirs = theirs if y.kind else [0] * len(mine)
                changes = {self._all.plus(t, u) for t, u in zip(mine, theirs, strict=True)}
                return changes.pop() if len(changes) == 1 else self._give_up("factors differ")
            if total is not None and len(set(mine)) == 1:
                return self._all.combined((mine[0], total))
            if weights:
                return self._all.combined(*zip(mine, weights[column], strict=True))
            products = map(self._all.product, mine, theirs)
            return self._all.combined(*((product, Fraction(1)) for product in products))

        numbers = np.array([number(pair) for pair in found.tolist()], dtype=np.int64)
        out = numbers[inverse.reshape(-1)].reshape(pairs.shape)
        out = np.swapaxes(out, 1, 2) if swapped else out
        return self._changed(kind, out.reshape(shape))

    def sum(self, x: Changed, axes: tuple[int, ...]) -> Changed:
        """See `Domain.sum`: terms add up; factors must be the same."""
        if x.kind != "sum":
            return self._alike(x, axes)
        kept = [k for k in range(x.terms.ndim) if k not in axes]
        shape = tuple(x.terms.shape[k] for k in kept)
        moved = np.transpose(x.terms, [*kept, *axes]).reshape(1, math.prod(shape), -1)
        rows, at = _unique_rows(moved)
        if rows.size > MOST:
            self._give_up("too many entries change differently")

        def number(row: np.ndarray) -> int:
            terms, counts = np.unique(row, return_counts=True)
            pairs = zip(terms.tolist(), counts.tolist(), strict=True)
            return self._all.combined(*((t, Fraction(n)) for t, n in pairs))

        numbers = np.array([number(row) for row in rows], dtype=np.int64)
        return self._changed("sum", numbers[at].reshape(shape))

    def power(self, x: Changed, exponent: Fraction) -> Changed:
        """See `Domain.power`."""
        if not x.kind:
            return self.fixed(x.terms.shape)
        if x.kind == "sum":
            return self._give_up("a power is taken of it")
        rule = lambda a, _: self._all.combined((a, exponent))
        return self._changed("factor", self._all.pairs(rule, x.terms, np.zeros((), dtype=int)))

    def apply(self, function: str, *xs: Changed) -> Changed:
        """See `Domain.apply`: exp turns terms into factors, log turns them back."""
        kind = self._kind(*xs)
        x = xs[0]
        if function == "is_finite":
            return dataclasses.replace(self.fixed(x.terms.shape), finite=True)
        if not kind:
            self.exponentials += function == "exp" and x.peak
            return self.fixed(x.terms.shape)
        if (function, kind) == ("exp", "sum"):
            self.exponentials += 1
            return Changed("factor", x.terms)
        if (function, kind) == ("log", "factor"):
            return Changed("sum", x.terms, peak=True)
        degree = FUNCTIONS[function].degree
        if kind == "factor" and len(xs) == 1 and degree in (0, 1):
            return x if degree == 1 else self.fixed(x.terms.shape)
        return self._give_up(f"it enters {function!r}")

    # --- order ---

    def extremum(self, x: Changed, y: Changed, largest: bool) -> Changed:
        """See `Domain.extremum`: both change alike, or one is infinite (or 0 beside a factor)."""
        kind = self._kind(x, y)
        if not kind:
            return self.fixed(x.terms.shape)
        terms = [self._terms(v) for v in (x, y)]
        neutral = [self._is_neutral(v, kind) for v in (x, y)]
        if not np.all((terms[0] == terms[1]) | neutral[0] | neutral[1]):
            self._give_up("something that changes is compared with something else")
        return self._changed(kind, np.where(neutral[0], terms[1], terms[0]), x.peak or y.peak)

    def _is_neutral(self, x: Changed, kind: str) -> Any:
        if x.kind or x.value is None:
            return False
        return np.isinf(x.value) | ((x.value == 0) & (kind == "factor"))

    def fold(self, x: Changed, kind: str, axes: tuple[int, ...]) -> Changed:
        """See `Domain.fold`."""
        if not x.kind:
            return self._alike(x, axes)
        if kind in ("max", "min"):
            return dataclasses.replace(self._alike(x, axes), peak=True)
        if kind == "product" and x.kind == "factor":
            out = self.sum(dataclasses.replace(x, kind="sum"), axes)
            return dataclasses.replace(out, kind="factor") if out.kind else out
        return self._give_up("a product is taken of it")

    def compare(self, kind: str, x: Changed, y: Changed) -> Changed:
        """See `Domain.compare`."""
        self.extremum(x, y, True)
        return self.fixed(x.terms.shape)

    def select(self, which: Any, *cases: Changed) -> Changed:
        """See `Domain.select`: an unknown condition chooses among what changes alike."""
        kind = self._kind(*cases)
        if isinstance(which, np.ndarray):
            if kind:
                terms = select_known(which, *(self._terms(x) for x in cases))
                return self._changed(kind, terms, any(x.peak for x in cases))
            return Changed("", select_known(which, *(x.terms for x in cases)))
        if which.finite:
            return cases[1]
        if which.kind:
            self._give_up("it decides what is chosen")
        if not kind:
            peak = any(x.peak for x in cases)
            return dataclasses.replace(self.fixed(which.terms.shape), peak=peak)
        for case in cases[1:]:
            self._require_same(cases[0], case)
        return cases[0]

    def sort(self, xs: Sequence[Changed], axis: int, keys: int) -> list[Changed]:
        """See `Domain.sort`: what is exchanged must change alike."""
        out = []
        for x in xs:
            self._alike(x, (axis,))
            out.append(x if x.kind else self.fixed(x.terms.shape))
        return out

    def cast(self, x: Changed, kind: str) -> Changed:
        """See `Domain.cast`: nothing is followed through rounding."""
        if kind in ("real", "bit"):
            return x
        if x.kind:
            self._give_up("it is rounded")
        return self.fixed(x.terms.shape)


def _fraction(number: Any) -> Fraction:
    if number.dtype.kind in "biu":
        return Fraction(int(number))
    if not np.isfinite(number):
        raise NotFollowedError("a term that is added is multiplied by what is not finite")
    return rational(number)


def _unique_rows(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows (last axis) that occur in (b, i, k), and which one each is, (b, i)."""
    flat = np.ascontiguousarray(array.reshape(-1, array.shape[-1]))
    seen: dict[bytes, int] = {}
    at = np.array([seen.setdefault(row.tobytes(), len(seen)) for row in flat], dtype=np.int64)
    rows = np.array([np.frombuffer(key, dtype=array.dtype) for key in seen], dtype=array.dtype)
    return rows.reshape(-1, array.shape[-1]), at.reshape(array.shape[:2])
