"""Mirrors of hidden units, all at once and exactly, from the Gram matrix of the bias."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import jax
import numpy as np
from flint import fmpz_mat

from symtheory.errors import BudgetError
from symtheory.exact import rational
from symtheory.symmetry import FoundReflections

_LARGEST = 4_000_000
_GRID, _SHORT = 40, 55


class Units:
    """One row per unit: the bias of all weights that belong to it, as exact integers.

    Args:
        bias: A pytree of floats (theta_0, or D theta_0).
        found: Reflections that act on the units.
    """

    def __init__(self, bias: Any, found: FoundReflections) -> None:
        self.found = found
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(bias)]
        owned = dict(found.axes)
        rows = [
            np.moveaxis(leaves[leaf], axis, 0).reshape(leaves[leaf].shape[axis], -1)
            if leaves[leaf].ndim
            else leaves[leaf].reshape(1, 1)
            for leaf, axis in owned.items()
        ]
        self.widths = {leaf: block.shape[1] for leaf, block in zip(owned, rows, strict=True)}
        table = np.concatenate(rows, axis=1)
        self.size, self.width = table.shape
        if self.size * max(self.size, self.width) > _LARGEST:
            raise BudgetError(
                f"{self.size} units with {self.width} weights each are too many for exact "
                "arithmetic; bind smaller sizes"
            )
        integers, self.step = exact_integers(table)
        self.table = fmpz_mat(self.size, self.width, integers)
        gram = self.table * self.table.transpose()
        # A signed swap adds rows where a swap subtracts them.
        signs = np.repeat(
            [-1 if axis in found.signed else 1 for axis in owned.items()],
            [block.shape[1] for block in rows],
        )
        turned = fmpz_mat(self.size, self.width, [int(x) * int(s) for x, s in zip(
            self.table.entries(), np.tile(signs, self.size), strict=True)])  # fmt: skip
        mixed = self.table * turned.transpose()
        self.mixed = np.array(mixed.entries(), dtype=object).reshape(self.size, self.size)
        self.gram = np.array(gram.entries(), dtype=object).reshape(self.size, self.size)

    def members(self, kind: str) -> Iterator[tuple[tuple[int, ...], Fraction]]:
        """Yield the units and |P theta_0|^2 of every sign flip, swap or signed swap."""
        for i in range(self.size):
            if kind == "flip":
                yield (i,), self._number(self.gram[i, i])
                continue
            for j in range(i + 1, self.size):
                twice = self.gram[i, i] + self.gram[j, j] - 2 * self.mixed[i, j]
                yield (i, j), self._number(twice) / 2

    def mean_free(self) -> Fraction:
        """Return |(I - V) theta_0|^2, V the mean over all exchanges (of two units, if signed).

        It is the sum over all pairs of |theta_i -+ theta_j|^2, divided by the number of units.
        """
        trace = self.gram.trace()
        twice = (self.size - 1) * trace - self.mixed.sum() + self.mixed.trace()
        return self._number(twice) / self.size

    def total(self) -> Fraction:
        """Return |theta_0|^2 over the units: (I - V) theta_0 for all sign flips."""
        return self._number(sum(self.gram[i, i] for i in range(self.size)))

    def untouched(self, members: list[int] | None = None) -> list[list[int]]:
        """Return directions a of the units with a^T theta_0 = 0, exactly, as a basis.

        Args:
            members: Directions within these units only (all of them if omitted).
        """
        chosen = list(range(self.size)) if members is None else members
        entries = [self.table[i, j] for j in range(self.width) for i in chosen]
        space, dimension = fmpz_mat(self.width, len(chosen), entries).nullspace()
        out = []
        for k in range(int(dimension)):
            direction = [0] * self.size
            column = [int(space[i, k]) for i in range(len(chosen))]
            divisor = math.gcd(*column)
            for i, value in zip(chosen, column, strict=True):
                direction[i] = value // divisor
            out.append(direction)
        return out

    def equal_rows(self) -> list[list[int]]:
        """Return groups of units whose rows are the same, exactly."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for i in range(self.size):
            row = tuple(int(self.table[i, j]) for j in range(self.width))
            groups.setdefault(row, []).append(i)
        return list(groups.values())

    def _number(self, integer: Any) -> Fraction:
        return Fraction(int(integer)) * self.step * self.step


def exact_integers(table: np.ndarray) -> tuple[list[int], Fraction]:
    """Return numbers as integers times one common step, by the rule of `symtheory.exact`."""
    if table.dtype != object and table.size:
        numbers = table.astype(float).reshape(-1)
        largest = float(np.max(np.abs(numbers)))
        for bits in range(_GRID):
            scaled = numbers * 2.0**bits
            if np.all(scaled == np.round(scaled)):
                # Short enough that no simpler rational rounds to the same float.
                if largest <= 2.0 ** (_SHORT - 2 * bits):
                    return [int(x) for x in scaled], Fraction(1, 2**bits)
                break
    exact = [rational(x) for x in table.reshape(-1)]
    common = math.lcm(*(x.denominator for x in exact))
    return [int(x * common) for x in exact], Fraction(1, common)


def exact_tree(tree: Any) -> Any:
    """Return a pytree of floats as one of object arrays of fractions."""

    def leaf(array: Any) -> np.ndarray:
        array = np.asarray(array)
        integers, step = exact_integers(array)
        out = np.empty(array.size, dtype=object)
        out[:] = [integer * step for integer in integers]
        return out.reshape(array.shape)

    return jax.tree.map(leaf, tree)
