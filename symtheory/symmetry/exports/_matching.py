"""Match the units of two networks class by class: linear assignment, coordinate descent."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from symtheory.program import Deadline
from symtheory.symmetry.inference import Inferred
from symtheory.symmetry.inference._actions import Arrays, permutations
from symtheory.symmetry.inference._generators import copy_sizes, occurrences
from symtheory.symmetry.inference._result import Block

_MOST_SWEEPS = 100


@dataclasses.dataclass(frozen=True, eq=False)
class _Occurrence:
    """One axis of a class in one block: the block, the places of the copies and of the units."""

    block: Block
    leaf: int
    copies: tuple[int, ...]
    units: tuple[int, ...]

    def arranged(self, arrays: Arrays) -> np.ndarray:
        """Return the block as (*copies, units, rest)."""
        x = self.block.read(arrays[self.leaf])
        rest = [n for n in range(x.ndim) if n not in (*self.copies, *self.units)]
        shape = [x.shape[n] for n in self.copies]
        size = int(np.prod([x.shape[n] for n in self.units]))
        return x.transpose(*self.copies, *self.units, *rest).reshape(*shape, size, -1)


def _assignment(score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the assignment of the largest total score."""
    from scipy.optimize import linear_sum_assignment  # half a second, and few calls need it

    return linear_sum_assignment(score, maximize=True)


class Matching:
    """Permutes network b, class by class, so that it comes near to network a.

    The squared distance is linear in the permutation of one class while all others stay, up to
    parameters that carry the class on two axes. Classes within another one (the units of heads)
    are matched anew for every pair of its indices. A step is taken only if the distance falls.

    Args:
        inferred: The symmetries.
        a: The parameters to be matched, in double precision.
        b: The parameters to be permuted.

    Attributes:
        b: The permuted parameters.
        entries: For each entry of them, which entry of its parameter it was.
        orders: For each class, which unit of b each unit is now, (*copies, units).
    """

    def __init__(self, inferred: Inferred, a: Arrays, b: Arrays) -> None:
        self.leaves, self.found = inferred.leaves, inferred.found
        self.a, self.b = a, [x.copy() for x in b]
        self.entries = [np.arange(x.size).reshape(x.shape) for x in b]
        classes = self.found.classes
        self.moving = [k for k, c in enumerate(classes) if c.group != "none" and c.size > 1]
        self.orders = {k: self._identity(k) for k in self.moving}
        self.inner = {
            k: [m for m in self.moving if set(self.found.members[k]) & set(self.found.along[m])]
            for k in self.moving
        }
        number = {leaf.path: n for n, leaf in enumerate(self.leaves)}
        self.where: dict[int, list[_Occurrence]] = {}
        for k in self.moving:
            self.where[k] = []
            for block, groups, along in occurrences(self.leaves, self.found, k):
                copies = tuple(block.factors.index(axis) for axis in along)
                for group in groups:
                    units = tuple(block.factors.index((x.axis, x.factor)) for x in group)
                    self.where[k].append(
                        _Occurrence(block, number[block.leaf.path], copies, units)
                    )  # fmt: skip
        self.settled: set[int] | None = None

    def _identity(self, k: int) -> np.ndarray:
        size = self.found.classes[k].size
        return np.broadcast_to(np.arange(size), (*copy_sizes(self.found, k), size)).copy()

    @property
    def distance(self) -> float:
        """The squared distance."""
        return float(sum(np.sum((x - y) ** 2) for x, y in zip(self.a, self.b, strict=True)))

    # --- steps ---

    def run(self, deadline: Deadline) -> int:
        """Improve until nothing changes; return the number of sweeps."""
        for sweep in range(1, _MOST_SWEEPS + 1):
            changed = False
            for k in self.moving:
                deadline.check()
                changed |= self._step(k)
            if not changed:
                return sweep
        return _MOST_SWEEPS

    def start(self, deadline: Deadline) -> None:
        """Match classes in the order in which they are held by others that are matched already.

        At first nothing is known of the axes of other classes: only parameters count whose other
        axes are fixed or matched. The class with the largest share of these comes next.
        """
        self.settled = set()
        left = list(self.moving)
        while left:
            deadline.check()
            k = max(left, key=self._held)
            self.settled |= {k, *self.inner[k]}
            for m in (k, *self.inner[k]):
                if m in left:
                    left.remove(m)
            self._step(k, always=True)
        self.settled = None

    def _held(self, k: int) -> float:
        assert self.settled is not None
        total = sum(o.block.read(self.a[o.leaf]).size for o in self.where[k])
        sure = sum(
            o.block.read(self.a[o.leaf]).size for o in self.where[k]
            if self._is_held(o, {k, *self.inner[k]})
        )  # fmt: skip
        outer = any(set(self.found.members[m]) & set(self.found.along[k]) for m in self.moving)
        return sure / total - outer  # units of heads come with their heads

    def _is_held(self, occurrence: _Occurrence, own: set[int]) -> bool:
        if self.settled is None:
            return True
        block = occurrence.block
        labels = {self.found.labels[block.leaf.path, block.number, *f] for f in block.factors}
        others = [m for m in self.moving if m not in self.settled | own]
        return not any(labels & set(self.found.members[m]) for m in others)

    def _step(self, k: int, always: bool = False) -> bool:
        """Match one class, with those inside it; tell whether the distance fell."""
        before = self.distance
        saved = [x.copy() for x in self.b], [x.copy() for x in self.entries], dict(self.orders)
        for m, order in self._best(k).items():
            permutations(self.leaves, self.found, m, order)(self.b)
            permutations(self.leaves, self.found, m, order)(self.entries)
            # New unit i is old unit order[i], which was unit orders[order[i]] of b as given.
            self.orders[m] = np.take_along_axis(self.orders[m], order, -1)
            for inside in self.inner[m]:
                self._exchange_copies(m, inside, order)
        if not always and not self.distance < before * (1 - 1e-12):
            self.b, self.entries, self.orders = saved
            return False
        return True

    def _exchange_copies(self, k: int, m: int, order: np.ndarray) -> None:
        """The copies of class m went along with the units of class k."""
        axis, old = self._outer_axis(k, m), self.orders[m]
        new = old.copy()
        for index in np.ndindex(*old.shape[:-1]):
            source = list(index)
            source[axis] = order[self._copy_of(k, m, index)][index[axis]]
            new[index] = old[tuple(source)]
        self.orders[m] = new

    def _copy_of(self, k: int, m: int, index: tuple[int, ...]) -> tuple[int, ...]:
        """Return the copy of class k that a copy of class m is in."""
        labels = self.found.along[m]
        return tuple(
            index[labels.index(label)] if label in labels else 0 for label in self.found.along[k]
        )

    def _best(self, k: int) -> dict[int, np.ndarray]:
        """Return the best permutations of a class and those inside it, outer ones last."""
        shape = copy_sizes(self.found, k)
        score = self._scores(k, self.inner[k])
        choices = {m: self._inner_choices(k, m) for m in self.inner[k]}
        for gain, _ in choices.values():
            score = score + gain
        order = np.empty((*shape, self.found.classes[k].size), dtype=int)
        for copy in np.ndindex(*shape):
            order[copy] = _assignment(score[copy])[1]
        # The units inside old index j are permuted first, as suits the index i that j goes to.
        out = {m: self._chosen(k, m, order, pick) for m, (_, pick) in choices.items()}
        return {**out, k: order}

    def _scores(self, k: int, without: Sequence[int]) -> np.ndarray:
        """Return <a unit i, b unit j>, (*copies, units, units), without some classes."""
        size = self.found.classes[k].size
        score = np.zeros((*copy_sizes(self.found, k), size, size))
        inside = set(itertools.chain.from_iterable(self.found.members[m] for m in without))
        for occurrence in self.where[k]:
            block = occurrence.block
            labels = {self.found.labels[block.leaf.path, block.number, *f] for f in block.factors}
            if labels & inside or not self._is_held(occurrence, {k}):
                continue
            x, y = occurrence.arranged(self.a), occurrence.arranged(self.b)
            score += x @ np.swapaxes(y, -1, -2)
        return score

    def _outer_axis(self, k: int, m: int) -> int:
        """Return which axis of the copies of class m counts the units of class k."""
        return self.found.along[m].index(self.found.members[k][0])

    def _inner_choices(self, k: int, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the gain of the best match of class m for each pair of indices of class k.

        Returns:
            Gains (*copies of k, units of k, units of k), and permutations
            (*copies of m without k, units of k, units of k, units of m).
        """
        axis, n, size = (
            self._outer_axis(k, m), self.found.classes[k].size, self.found.classes[m].size,
        )  # fmt: skip
        rest = [s for i, s in enumerate(copy_sizes(self.found, m)) if i != axis]
        score = np.zeros((*rest, n, n, size, size))
        for occurrence in self.where[m]:
            if self._is_held(occurrence, {k, m}):
                x, y = (
                    np.moveaxis(occurrence.arranged(z), axis, -3) for z in (self.a, self.b)
                )  # fmt: skip
                score += np.einsum("...iur,...jvr->...ijuv", x, y, optimize=True)
        gains = np.zeros((*rest, n, n))
        picks = np.empty((*rest, n, n, size), dtype=int)
        for index in np.ndindex(*gains.shape):
            rows, columns = _assignment(score[index])
            picks[index], gains[index] = columns, float(score[index][rows, columns].sum())
        # Copies of m that are no copies of k are summed over.
        labels = [x for i, x in enumerate(self.found.along[m]) if i != axis]
        own = self.found.along[k]
        summed = tuple(i for i, label in enumerate(labels) if label not in own)
        kept = [label for label in labels if label in own]
        gains = gains.sum(axis=summed)
        order = [kept.index(label) for label in own if label in kept]
        gains = gains.transpose(*order, len(kept), len(kept) + 1)
        for i, label in enumerate(own):
            if label not in kept:
                gains = np.expand_dims(gains, i)
        return gains, picks

    def _chosen(self, k: int, m: int, order: np.ndarray, picks: np.ndarray) -> np.ndarray:
        """Return the permutations of class m, by its copies, that go with an order of class k."""
        axis, shape = self._outer_axis(k, m), copy_sizes(self.found, m)
        out = np.empty((*shape, self.found.classes[m].size), dtype=int)
        for index in np.ndindex(*shape):
            rest = tuple(x for i, x in enumerate(index) if i != axis)
            new = int(np.flatnonzero(order[self._copy_of(k, m, index)] == index[axis])[0])
            out[index] = picks[(*rest, new, index[axis])]
        return out
