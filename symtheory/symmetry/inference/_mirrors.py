"""Reflections of the inferred group: exchanges of units, signs, and mirrors of O and GL classes."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from symtheory.symmetry.inference._actions import applied, matrices, permutations, signs
from symtheory.symmetry.inference._generators import copy_sizes, occurrences
from symtheory.symmetry.inference._read_off import Reading
from symtheory.symmetry.inference._result import Flips, Leaf


@dataclasses.dataclass(frozen=True, eq=False)
class Mirrors:
    """Reflections theta -> (I - 2 P) theta of one kind, all of one rank.

    Attributes:
        kind: "swap" (two units are exchanged), "sign" (of one unit), or "direction" (of one
            direction in the space of the units; there are as many as directions).
        number: The class (for "sign": the family of signs).
        count: How many there are; None for a continuum.
        rank: The rank of P.
    """

    kind: str
    number: int
    count: int | None
    rank: int
    _example: Callable[..., Callable[[Any], Any]]

    def example(self, *index: int) -> Callable[[Any], Any]:
        """Return one of them as a function of the parameters.

        Args:
            *index: For "swap": the two units (0 and 1 if omitted). For "sign" and "direction":
                the unit (0 if omitted). All are in the first copy of the class.
        """
        return self._example(*index)


def mirrors(leaves: Sequence[Leaf], found: Reading) -> Iterator[Mirrors]:
    """Yield the kinds of reflections."""
    for k, c in enumerate(found.classes):
        if c.group == "none" or c.size < 2:
            continue
        if c.group == "permutations":
            pairs = c.copies * math.comb(c.size, 2)
            swap = _swap(leaves, found, k)
            yield Mirrors("swap", k, pairs, _rank(leaves, found, k, True), swap)
        else:
            rank = _rank(leaves, found, k, False)
            yield Mirrors("direction", k, None, rank, _direction(leaves, found, k))
    for k, flips in enumerate(found.flips):
        rank = _sign_rank(leaves, flips)
        yield Mirrors("sign", k, math.prod(flips.sizes), rank, _sign(leaves, flips))


def _rank(leaves: Sequence[Leaf], found: Reading, k: int, swap: bool) -> int:
    """Return how many eigenvalues of an exchange, or of a mirror, are -1."""
    n, total = found.classes[k].size, 0
    for block, groups, _ in occurrences(leaves, found, k):
        times = len(groups)
        entries = math.prod(block.shape) // found.classes[k].copies // n**times
        if swap:  # entries with none of the two units stay; the others are exchanged in pairs
            total += entries * (n**times - (n - 2) ** times) // 2
        else:  # an odd number of axes points along the direction
            total += entries * (n**times - (n - 2) ** times) // 2
    return total


def _swap(leaves: Sequence[Leaf], found: Reading, k: int) -> Callable[..., Callable[[Any], Any]]:
    def example(i: int = 0, j: int = 1) -> Callable[[Any], Any]:
        copies = copy_sizes(found, k)
        order = np.tile(np.arange(found.classes[k].size), (*copies, 1))
        first = order[(0,) * len(copies)]
        first[[i, j]] = first[[j, i]]
        action = permutations(leaves, found, k, order)
        return lambda params: applied(leaves, [action], params)

    return example


def _direction(
    leaves: Sequence[Leaf], found: Reading, k: int
) -> Callable[..., Callable[[Any], Any]]:  # fmt: skip
    def example(i: int = 0) -> Callable[[Any], Any]:
        copies = copy_sizes(found, k)
        mirror = np.tile(np.eye(found.classes[k].size), (*copies, 1, 1))
        mirror[(0,) * len(copies)][i, i] = -1.0
        action = matrices(leaves, found, k, mirror)
        return lambda params: applied(leaves, [action], params)

    return example


def _sign(leaves: Sequence[Leaf], flips: Flips) -> Callable[..., Callable[[Any], Any]]:
    def example(*index: int) -> Callable[[Any], Any]:
        array = np.ones(flips.sizes)
        array[index or (0,) * len(flips.sizes)] = -1.0
        action = signs(leaves, flips, array)
        return lambda params: applied(leaves, [action], params)

    return example


def _sign_rank(leaves: Sequence[Leaf], flips: Flips) -> int:
    """Return how many entries change their sign when the array is -1 at one index."""
    by_block: dict[Any, list[Any]] = {}
    for target in flips.targets:
        by_block.setdefault((target.leaf, target.block), []).append(target)
    total = 0
    for leaf in leaves:
        for block in leaf.blocks():
            targets = by_block.get((leaf.path, block.number), [])
            if not targets:
                continue
            used = sorted({axis for target in targets for axis in target.axes})
            sizes = dict(zip(block.factors, block.shape, strict=True))
            rest = math.prod(block.shape) // math.prod(sizes[axis] for axis in used)
            for hits in itertools.product([True, False], repeat=len(used)):
                hit = dict(zip(used, hits, strict=True))
                weight = math.prod(1 if hit[axis] else sizes[axis] - 1 for axis in used)
                if sum(all(hit[axis] for axis in target.axes) for target in targets) % 2:
                    total += weight * rest
    return total
