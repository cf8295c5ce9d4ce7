"""Is a given action on axes of the parameters among the symmetries that are inferred?"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from symtheory.errors import SymtheoryError
from symtheory.linear_algebra._exact import Row, Span
from symtheory.model import Model
from symtheory.symmetry._loss import loss_of
from symtheory.symmetry.inference import AxisClass, Inferred, infer_traced

Place = tuple[int, int]
"""Number of a leaf, and one of its axes."""


class Structural:
    """The symmetries inferred from a model's loss, asked whether they contain given ones.

    Every answer "yes" is a derivation: the rules of the inference follow the action through the
    loss, for all parameters and samples. "No" only says that these rules do not.

    Args:
        model: A model with all sizes bound.

    Attributes:
        inferred: What was inferred; None where the loss cannot be read or redefines derivatives.
    """

    def __init__(self, model: Model) -> None:
        self.inferred: Inferred | None = None
        loss = loss_of(model)
        if loss.redefines_derivatives:
            return
        try:
            self.inferred = infer_traced(loss.closed, loss.inputs[0])
        except SymtheoryError:
            return

    # --- axes ---

    @functools.cached_property
    def _numbers(self) -> dict[Any, int]:
        assert self.inferred is not None
        return {leaf.path: k for k, leaf in enumerate(self.inferred.leaves)}

    @functools.cached_property
    def _class_of(self) -> dict[Place, int]:
        """The class of each axis that is read as one atom of an uncut leaf."""
        assert self.inferred is not None
        leaves, out = self.inferred.leaves, {}
        for k, item in enumerate(self.inferred.classes):
            for axis in item.axes:
                number = self._numbers[axis.leaf]
                if not axis.block and axis.size == leaves[number].shape[axis.axis]:
                    out[number, axis.axis] = k
        return out

    def _is_whole(self, k: int) -> bool:
        """Tell whether a class has one factor and stands on whole axes only."""
        assert self.inferred is not None
        item = self.inferred.classes[k]
        places = {(self._numbers[a.leaf], a.axis) for a in item.axes}
        return item.factors == 1 and all(self._class_of.get(p) == k for p in places)

    def axes(self, k: int) -> dict[Place, int]:
        """Return the axes of a class, with their orientation."""
        assert self.inferred is not None
        return {
            (self._numbers[a.leaf], a.axis): a.orientation for a in self.inferred.classes[k].axes
        }

    # --- linear generators ---

    def contains(self, parts: Mapping[Place, np.ndarray]) -> bool:
        """Tell whether theta -> sum of matrices along axes is an inferred generator.

        Args:
            parts: A square matrix for an axis of a leaf; a scalar leaf has one axis of length 1.
        """
        if self.inferred is None:
            return False
        leaves = self.inferred.leaves
        scales: dict[int, Fraction] = {}
        diagonals: dict[int, dict[Place, list[Fraction]]] = {}
        mixing: dict[int, dict[Place, np.ndarray]] = {}
        for (leaf, axis), matrix in parts.items():
            entries = [Fraction(x) for x in np.diagonal(matrix).tolist()]
            scales[leaf] = scales.get(leaf, Fraction(0)) + entries[0]
            rest = [x - entries[0] for x in entries]
            off = matrix - np.diag(np.diagonal(matrix))
            if not any(rest) and not np.any(off):
                continue
            k = self._class_of.get((leaf, axis))
            if k is None or not self._is_whole(k):
                return False
            if any(rest):
                diagonals.setdefault(k, {})[leaf, axis] = rest
            if np.any(off):
                mixing.setdefault(k, {})[leaf, axis] = off
        if not all(self._mixes(k, found) for k, found in mixing.items()):
            return False
        if not all(self._rescales(k, found) for k, found in diagonals.items()):
            return False
        whole: Row = {
            (leaf, block.number): scale
            for leaf, scale in scales.items()
            if scale
            for block in leaves[leaf].blocks()
        }
        return not whole or not self._constant_span.reduce(whole)[0]

    def _mixes(self, k: int, found: Mapping[Place, np.ndarray]) -> bool:
        """Tell whether matrices without diagonal are one element of a class's Lie algebra."""
        assert self.inferred is not None
        item: AxisClass = self.inferred.classes[k]
        axes = self.axes(k)
        if item.group not in ("GL", "O") or set(found) != set(axes):
            return False
        place = next(iter(found))
        first = found[place] if axes[place] > 0 else -found[place].T
        if item.group == "O" and np.any(first + first.T):
            return False
        return all(
            np.array_equal(found[p], first if side > 0 else -first.T) for p, side in axes.items()
        )

    def _rescales(self, k: int, found: Mapping[Place, Sequence[Fraction]]) -> bool:
        """Tell whether factors that vary along a class only are inferred, unit by unit."""
        span = Span()
        for row in self._rows_along(k):
            span.add(row)
        count = len(next(iter(found.values())))
        units = {tuple(vector[i] for vector in found.values()) for i in range(count)}
        for values in units:
            row: Row = {p: v for p, v in zip(found, values, strict=True) if v}
            if row and span.reduce(row)[0]:
                return False
        return True

    def _rows_along(self, k: int) -> Iterable[Row]:
        """Yield the rates, by axis, of families whose array has an axis for a class."""
        assert self.inferred is not None
        for family in self.inferred.rescalings:
            for position, label in enumerate(family.along):
                if label != k:
                    continue
                row: Row = {}
                for target, rate in family.rates:
                    place = (self._numbers[target.leaf], target.axes[position][0])
                    row[place] = row.get(place, Fraction(0)) + rate
                yield row

    @functools.cached_property
    def _constant_span(self) -> Span:
        """The scales of whole blocks that families with a constant array give."""
        assert self.inferred is not None
        span = Span()
        for family in self.inferred.rescalings:
            row: Row = {}
            for target, rate in family.rates:
                key = (self._numbers[target.leaf], target.block)
                row[key] = row.get(key, Fraction(0)) + rate
            span.add({key: rate for key, rate in row.items() if rate})
        return span

    # --- permutations and signs ---

    def moves(self, axes: Iterable[Place], order: np.ndarray, signs: np.ndarray) -> bool:
        """Tell whether permuting the units of some axes, and changing signs, is inferred.

        Args:
            axes: The axes of the units; all of one class for a permutation.
            order: Where each unit comes from.
            signs: 1 or -1 for each unit, as it stands afterwards.
        """
        axes = set(axes)
        if self.inferred is None or not axes:
            return False
        if np.any(order != np.arange(len(order))):
            labels = {self._class_of.get(place) for place in axes}
            if len(labels) != 1 or None in labels:
                return False
            [k] = labels
            assert k is not None
            permutes = self.inferred.classes[k].group in ("GL", "O", "permutations")
            if not (permutes and self._is_whole(k) and set(self.axes(k)) == axes):
                return False
        return bool(np.all(signs > 0)) or self._flips(axes)

    def _flips(self, axes: set[Place]) -> bool:
        """Tell whether the signs of single units on some axes are free."""
        assert self.inferred is not None
        labels = {self._class_of.get(place) for place in axes}
        if len(labels) == 1 and None not in labels:
            [k] = labels
            assert k is not None
            group = self.inferred.classes[k].group
            if group in ("GL", "O") and self._is_whole(k) and set(self.axes(k)) == axes:
                return True
        places = {p for p in axes if self.inferred.leaves[p[0]].shape}
        if len(places) < len(axes):  # scalars have no units
            return False
        rows = []
        for flips in self.inferred.flips:
            for position in range(len(flips.along)):
                row: set[Place] = set()
                for target in flips.targets:
                    place = (self._numbers[target.leaf], target.axes[position][0])
                    row ^= {place}
                    if target.block:
                        row ^= {(-1 - place[0], place[1])}
                rows.append(row)
        return _in_span_mod_2(rows, places)

    def rotates(self, axes: Iterable[Place]) -> bool:
        """Tell whether all rotations of the units of some axes are inferred."""
        axes = set(axes)
        if self.inferred is None:
            return False
        labels = {self._class_of.get(place) for place in axes}
        if len(labels) != 1 or None in labels:
            return False
        [k] = labels
        assert k is not None
        group = self.inferred.classes[k].group
        return group in ("GL", "O") and self._is_whole(k) and set(self.axes(k)) == axes

    def unit_groups(self) -> list[list[Place]]:
        """Return groups of axes whose units may be exchanged, or change their signs, together."""
        if self.inferred is None:
            return []
        out: list[list[Place]] = []
        for k, item in enumerate(self.inferred.classes):
            if item.group in ("GL", "O", "permutations") and self._is_whole(k):
                out.append(sorted(self.axes(k)))
        for flips in self.inferred.flips:
            if len(flips.along) == 1 and not any(target.block for target in flips.targets):
                places = {(self._numbers[t.leaf], t.axes[0][0]) for t in flips.targets}
                if places <= set(self._class_of):
                    out.append(sorted(places))
        return [list(group) for group in dict.fromkeys(map(tuple, out))]

    def whole_flips(self) -> list[list[int]]:
        """Return sets of leaves that may change sign together, beside all units of a class."""
        if self.inferred is None:
            return []
        whole, units = [], []
        for flips in self.inferred.flips:
            blocks = [(self._numbers[target.leaf], target.block) for target in flips.targets]
            odd = {block for block in blocks if blocks.count(block) % 2}
            leaves = {leaf for leaf, _ in odd}
            every = self.inferred.leaves
            if odd == {(leaf, block.number) for leaf in leaves for block in every[leaf].blocks()}:
                (units if flips.along else whole).append({(leaf, 0) for leaf in leaves})
        for item in self.inferred.classes:
            if item.group in ("GL", "O"):
                units.append({(self._numbers[axis.leaf], 0) for axis in item.axes})
        return [
            sorted(leaf for leaf, _ in found) for found in whole if not _in_span_mod_2(units, found)
        ]


def _in_span_mod_2(rows: Sequence[set[Place]], wanted: set[Place]) -> bool:
    basis: dict[Place, set[Place]] = {}
    for row in [*map(set, rows)]:
        rest = _reduced_mod_2(basis, row)
        if rest:
            basis[min(rest)] = rest
    return not _reduced_mod_2(basis, set(wanted))


def _reduced_mod_2(basis: Mapping[Place, set[Place]], row: set[Place]) -> set[Place]:
    rest = set(row)
    while True:
        pivot = next((p for p in sorted(rest) if p in basis), None)
        if pivot is None:
            return rest
        rest ^= basis[pivot]


_KNOWN: weakref.WeakKeyDictionary[Model, Structural] = weakref.WeakKeyDictionary()


def structural(model: Model) -> Structural:
    """Return what is inferred of a model's loss, the same object for the same model."""
    if model not in _KNOWN:
        _KNOWN[model] = Structural(model)
    return _KNOWN[model]
