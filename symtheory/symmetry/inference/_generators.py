"""Generators on demand: sparse matrices A and shifts b, charges, and pairs of GL factors."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory.symmetry.inference._linear import Rationals
from symtheory.symmetry.inference._read_off import Reading
from symtheory.symmetry.inference._result import Axis, Block, Family, Leaf, Target


@dataclasses.dataclass(frozen=True, eq=False)
class Direction:
    """A generator theta -> A theta + b, with only the entries that are not zero.

    Attributes:
        name: What it does, in words.
        rows: Rows of the entries of A, as places in the flattened parameters.
        columns: Columns of the entries of A.
        values: The entries of A.
        shift_rows: Places of the entries of b.
        shift_values: The entries of b.
    """

    name: str
    rows: np.ndarray
    columns: np.ndarray
    values: tuple[Fraction, ...]
    shift_rows: np.ndarray
    shift_values: tuple[Fraction, ...]

    @property
    def is_symmetric(self) -> bool:
        """Whether A = A^T, so that theta^T A theta is a charge."""
        entries: dict[tuple[int, int], Fraction] = {}
        for i, j, value in zip(self.rows.tolist(), self.columns.tolist(), self.values, strict=True):
            entries[i, j] = entries.get((i, j), Fraction(0)) + value
        return all(entries.get((j, i)) == value for (i, j), value in entries.items())

    def __call__(self, params: Any) -> Any:
        """Return A theta + b."""
        flat, unravel = _ravel(params)
        out = jnp.zeros_like(flat)
        if len(self.rows):
            out = out.at[self.rows].add(_floats(self.values) * flat[self.columns])
        if len(self.shift_rows):
            out = out.at[self.shift_rows].add(_floats(self.shift_values))
        return unravel(out)

    def charge(self, params: Any) -> Any:
        """Return theta^T A theta + b . theta, the charge of a symmetric generator (or a shift).

        For a generator with both A and b it is a charge only where A b = 0.
        """
        flat, _ = _ravel(params)
        out = jnp.zeros((), flat.dtype)
        if len(self.rows):
            out += jnp.sum(_floats(self.values) * flat[self.rows] * flat[self.columns])
        if len(self.shift_rows):
            out += jnp.sum(_floats(self.shift_values) * flat[self.shift_rows])
        return out


def _ravel(params: Any) -> tuple[Any, Any]:
    leaves, tree = jax.tree.flatten(params)
    flat = jnp.concatenate([jnp.ravel(jnp.asarray(x)) for x in leaves])
    cuts = np.cumsum([np.size(x) for x in leaves])[:-1]

    def unravel(vector: Any) -> Any:
        parts = jnp.split(vector, cuts)
        return jax.tree.unflatten(
            tree, [part.reshape(np.shape(x)) for part, x in zip(parts, leaves, strict=True)]
        )

    return flat, unravel


def _floats(values: Sequence[Fraction]) -> np.ndarray:
    return np.array([float(v) for v in values])


# --- families ----------------------------------------------------------------------------------


def family_directions(leaves: Sequence[Leaf], families: Sequence[Family]) -> Iterator[Direction]:
    """Yield a basis of the rescalings and shifts: one index at a time, as far as that is a basis.

    An array may be 1 at one index of its axes and 0 elsewhere. The sum of these over an axis is the
    rescaling by an array without that axis, so that one of the two is left out.
    """
    spans: dict[Any, Rationals] = {}
    names: dict[Any, int] = {}

    def row(family: Family, kept: tuple[int, ...]) -> tuple[Any, dict[int, Any]]:
        out: dict[int, Any] = {}
        for kind, targets in enumerate((family.rates, family.shifts)):
            for target, rate in targets:
                axes = tuple(target.axes[k] for k in kept)
                name = (kind, target.leaf, target.block, tuple(sorted(axes)))
                number = names.setdefault(name, len(names))
                out[number] = out.get(number, 0) + rate
        return tuple(sorted(_where(family, k) for k in kept)), {k: r for k, r in out.items() if r}

    for family in sorted(families, key=lambda f: -len(f.sizes)):
        count = len(family.sizes)
        subsets = [s for n in range(count + 1) for s in itertools.combinations(range(count), n)]
        rows = [row(family, kept) for kept in subsets]
        top, whole = rows[-1]
        if not spans.setdefault(top, Rationals()).reduce(whole):
            continue
        trial = copy.deepcopy({key: spans.setdefault(key, Rationals()) for key, _ in rows})
        free = all(trial[key].add(r) for key, r in rows)
        for key, r in rows if free else rows[-1:]:
            spans[key].add(r)
        starts = [0 if free else 1] * count
        ranges = (range(a, n) for a, n in zip(starts, family.sizes, strict=True))
        for index in itertools.product(*ranges):
            yield _at(leaves, family, index)


def _where(family: Family, k: int) -> tuple[Any, ...]:
    """Return a name of an axis of the array of a family: the class, and the size."""
    return (family.along[k], family.sizes[k])


def _at(leaves: Sequence[Leaf], family: Family, index: tuple[int, ...]) -> Direction:
    by_path = {leaf.path: leaf for leaf in leaves}
    rows: list[np.ndarray] = []
    values: list[Fraction] = []
    shift_rows: list[np.ndarray] = []
    shift_values: list[Fraction] = []
    for targets, places, numbers in (
        (family.rates, rows, values), (family.shifts, shift_rows, shift_values),
    ):  # fmt: skip
        for target, rate in targets:
            entries = _entries(by_path, target, index)
            places.append(entries)
            numbers += [rate] * len(entries)
    words = "shift" if family.shifts else "rescaling"
    leaf_names = ", ".join(
        "/".join(map(str, target.leaf)) for target, _ in (*family.rates, *family.shifts)
    )
    at = f" at {', '.join(map(str, index))}" if index else ""
    flat = np.concatenate([np.zeros(0, np.int64), *rows])
    shifted = np.concatenate([np.zeros(0, np.int64), *shift_rows])
    return Direction(
        f"{words} of {leaf_names}{at}", flat, flat, tuple(values), shifted, tuple(shift_values)
    )


def _entries(
    by_path: dict[Any, Leaf], target: Target, index: tuple[int, ...]
) -> np.ndarray:  # fmt: skip
    block = by_path[target.leaf].block(target.block)
    return block.entries(dict(zip(target.axes, index, strict=True))).reshape(-1)


# --- classes -----------------------------------------------------------------------------------


def matrix_directions(
    leaves: Sequence[Leaf], found: Reading, symmetric: bool = False
) -> Iterator[Direction]:
    """Yield the generators of GL and O classes that are not diagonal, one pair of units at a time.

    Args:
        leaves: The parameters.
        found: What was read off.
        symmetric: Whether only symmetric ones are wanted (E_ij + E_ji of GL classes).
    """
    for k, c in enumerate(found.classes):
        if c.group not in ("GL", "O") or (symmetric and c.group == "O"):
            continue
        for which in itertools.product(*map(range, copy_sizes(found, k))):
            for i, j in itertools.combinations(range(c.size), 2):
                if c.group == "O":
                    yield _mixing(leaves, found, k, which, {(i, j): 1, (j, i): -1})
                elif symmetric:
                    yield _mixing(leaves, found, k, which, {(i, j): 1, (j, i): 1})
                else:
                    yield _mixing(leaves, found, k, which, {(i, j): 1})
                    yield _mixing(leaves, found, k, which, {(j, i): 1})


def copy_sizes(found: Reading, k: int) -> tuple[int, ...]:
    """Return how many copies a class has along each of the classes it may depend on."""
    sizes = {}
    for c in found.classes:
        for axis in c.axes:
            sizes[found.labels[axis.leaf, axis.block, axis.axis, axis.factor]] = axis.size
    return tuple(sizes[label] for label in found.along[k])


def occurrences(
    leaves: Sequence[Leaf], found: Reading, k: int
) -> Iterator[tuple[Block, list[tuple[Axis, ...]], list[tuple[int, int]]]]:
    """Yield the blocks that carry a class, its axes in each, and the axes that tell its copies."""
    groups: dict[Any, list[tuple[Axis, ...]]] = {}
    c = found.classes[k]
    for start in range(0, len(c.axes), c.factors):
        group = c.axes[start : start + c.factors]
        groups.setdefault((group[0].leaf, group[0].block), []).append(group)
    for leaf in leaves:
        for block in leaf.blocks() if any(path == leaf.path for path, _ in groups) else ():
            here = groups.get((leaf.path, block.number))
            if here is None:
                continue
            labels = {found.labels[leaf.path, block.number, a, f]: (a, f) for a, f in block.factors}
            yield block, here, [labels[label] for label in found.along[k]]


def _mixing(
    leaves: Sequence[Leaf], found: Reading, k: int, which: tuple[int, ...],
    matrix: dict[tuple[int, int], int],
) -> Direction:  # fmt: skip
    """Return B on axes of orientation 1, and -B^T on the others."""
    rows: list[np.ndarray] = []
    columns: list[np.ndarray] = []
    values: list[Fraction] = []
    for block, groups, along in occurrences(leaves, found, k):
        fixed = dict(zip(along, which, strict=True))
        for group in groups:
            sizes = [axis.size for axis in group]
            for (i, j), value in matrix.items():
                places = []
                for unit in (i, j):
                    index = np.unravel_index(unit, sizes)
                    at = {(a.axis, a.factor): int(n) for a, n in zip(group, index, strict=True)}
                    places.append(block.entries({**fixed, **at}).reshape(-1))
                if group[0].orientation < 0:
                    places.reverse()
                    value = -value
                rows.append(places[0])
                columns.append(places[1])
                values += [Fraction(value)] * len(places[0])
    names = sorted({"/".join(map(str, axis.leaf)) for axis in found.classes[k].axes})
    unit = next(iter(matrix))
    at = f" in copy {', '.join(map(str, which))}" if which else ""
    none = np.zeros(0, np.int64)
    return Direction(
        f"mixing of units {unit[0]} and {unit[1]} of {', '.join(names)}{at}",
        np.concatenate([none, *rows]), np.concatenate([none, *columns]), tuple(values), none, (),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class GLPair:
    """Axes between which any invertible matrix may be moved: U -> U g, W -> g^-1 W.

    Attributes:
        size: The size of the matrices.
        copies: How many independent matrices there are (heads).
        left: Axes on which the matrix acts as itself.
        right: Axes on which its transposed inverse acts.
    """

    size: int
    copies: int
    left: tuple[Axis, ...]
    right: tuple[Axis, ...]
    _leaves: tuple[Leaf, ...]
    _found: Reading
    _number: int

    def charge(self, params: Any) -> np.ndarray:
        """Return the conserved matrices, of shape (copies, size, size).

        Q = sum over `left` of X X^T minus that over `right`, X the parameter with its axis in
        front (arXiv 2402.07193, section 4: U^T U - W W^T).
        """
        arrays = {
            leaf.path: np.asarray(x, dtype=np.float64).reshape(leaf.shape)
            for leaf, x in zip(self._leaves, jax.tree.leaves(params), strict=True)
        }
        out = np.zeros((self.copies, self.size, self.size))
        for block, groups, along in occurrences(self._leaves, self._found, self._number):
            x = block.read(arrays[block.leaf.path])
            front = [block.factors.index(axis) for axis in along]
            for group in groups:
                units = [block.factors.index((axis.axis, axis.factor)) for axis in group]
                rest = [n for n in range(x.ndim) if n not in (*front, *units)]
                flat = x.transpose(*front, *units, *rest).reshape(self.copies, self.size, -1)
                out += group[0].orientation * flat @ np.swapaxes(flat, -1, -2)
        return out


def gl_pairs(leaves: tuple[Leaf, ...], found: Reading) -> list[GLPair]:
    """Return the GL classes that have axes of both orientations."""
    out = []
    for k, c in enumerate(found.classes):
        left = tuple(axis for axis in c.axes if axis.orientation > 0)
        right = tuple(axis for axis in c.axes if axis.orientation < 0)
        if c.group == "GL" and left and right:
            out.append(GLPair(c.size, c.copies, left, right, leaves, found, k))
    return out
