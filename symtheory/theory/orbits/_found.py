"""The pairs among the symmetries that a search found."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from symtheory.errors import InputError
from symtheory.symmetry import Discovery
from symtheory.symmetry.discovery._names import Layout
from symtheory.symmetry.discovery._result import Group
from symtheory.theory.orbits._gl_pair import Factor, GLPair

Shapes = Mapping[str, tuple[int, ...]]


def gl_pairs(discovery: Discovery) -> tuple[GLPair, ...]:
    """Return the pairs of factors on which a full GL(h) was found, h >= 2.

    Read off the generators' matrices, or for large models off the groups of axes: one unit of a
    hidden axis is added to another in the left leaves, and taken away the other way in the right
    ones.

    Args:
        discovery: What `discover` returned.

    >>> from symtheory.symmetry import discover
    >>> from symtheory.zoo import load
    >>> gl_pairs(discover(load("two-layer-linear").bound()))[0].right
    (Factor(leaf='W', axis=0, batch=()),)
    """
    leaves = {name: tuple(int(n) for n in s) for name, s in discovery.model.leaves.items()}
    counts: dict[GLPair, int] = {}
    for found in discovery.generators:
        pair = _from_generator(found.matrix, leaves)
        if pair is not None:
            counts[pair] = counts.get(pair, 0) + 1
    pairs = []
    for pair, count in counts.items():
        shape = leaves[pair.left[0].leaf]
        width = shape[pair.left[0].axis]
        heads = math.prod(shape[k] for k in pair.left[0].batch)
        if count == heads * width * (width - 1):
            pairs.append(pair)
    return (*pairs, *_from_groups(discovery.groups, leaves))


def pair_of(found: Any, leaves: Shapes) -> GLPair:
    """Return the pair that one generator or group of a search acts on.

    Raises:
        InputError: It is none.
    """
    pair = None
    if isinstance(getattr(found, "matrix", None), Mapping):
        pair = _from_generator(found.matrix, leaves)
    elif getattr(found, "hidden", ()):
        pair = next(iter(_from_groups([found], leaves)), None)
    if pair is None:
        name = getattr(found, "name", None) or repr(found)
        raise InputError(
            f"{name} is not a pair of factors; give two leaf names, a GLPair, or one of "
            "gl_pairs(discover(model))"
        )
    return pair


def _from_generator(matrix: Mapping[tuple[int, int], Fraction], leaves: Shapes) -> GLPair | None:
    """Return the pair whose generator E_pq, p != q, a matrix is."""
    layout = Layout(leaves)
    axes: dict[str, set[int]] = {}
    units: dict[str, set[tuple[int, int]]] = {}
    rates: dict[str, set[Fraction]] = {}
    others: dict[str, list[tuple[int, ...]]] = {}
    for (i, j), rate in matrix.items():
        (name, target), (source_name, source) = layout.entry(i), layout.entry(j)
        moved = [k for k, (a, b) in enumerate(zip(target, source, strict=False)) if a != b]
        if name != source_name or len(moved) != 1:
            return None
        axes.setdefault(name, set()).add(moved[0])
        units.setdefault(name, set()).add((target[moved[0]], source[moved[0]]))
        rates.setdefault(name, set()).add(rate)
        others.setdefault(name, []).append(target)
    if len(axes) < 2 or any(
        len(found) > 1 for row in (axes, units, rates) for found in row.values()
    ):
        return None
    names = [name for name in leaves if name in axes]
    unit, rate = next(iter(units[names[0]])), next(iter(rates[names[0]]))
    left = [n for n in names if units[n] == {unit} and rates[n] == {rate}]
    right = [n for n in names if units[n] == {unit[::-1]} and rates[n] == {-rate}]
    if len(left) + len(right) < len(names) or not right:
        return None
    factors = {}
    for name in names:
        axis = next(iter(axes[name]))
        found = np.array(others[name])
        fixed = [
            k
            for k, size in enumerate(leaves[name])
            if k != axis and size > 1 and len(set(found[:, k])) == 1
        ]
        size = math.prod(s for k, s in enumerate(leaves[name]) if k not in (axis, *fixed))
        if len(found) != size:
            return None
        factors[name] = Factor(name, axis, tuple(fixed))
    return GLPair([factors[n] for n in left], [factors[n] for n in right])


def _from_groups(groups: Iterable[Group], leaves: Shapes) -> tuple[GLPair, ...]:
    """Return the pairs of groups of axes; one per head is put together to a stack of heads."""
    heads: dict[tuple[tuple[str, int, int], ...], set[int | None]] = {}
    for group in groups:
        key = tuple((leaf, axis, side) for leaf, _, axis, side in group.hidden)
        index = {head for _, head, _, _ in group.hidden}
        if key and len(index) == 1:
            heads.setdefault(key, set()).update(index)
    out = []
    for key, found in heads.items():
        if found != {None} and found != set(range(leaves[key[0][0]][0])):
            continue
        batch = () if found == {None} else (0,)
        sides = [[Factor(n, axis, batch) for n, axis, s in key if s == side] for side in (1, -1)]
        if all(sides):
            out.append(GLPair(*sides))
    return tuple(out)
