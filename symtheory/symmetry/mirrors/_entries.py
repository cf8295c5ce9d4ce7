"""Reflections of entries rather than units: flips of leaves and entries, exchanges of leaves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from symtheory.symmetry._evaluated import on_axes
from symtheory.symmetry.mirrors._judge import SAME, Judge
from symtheory.symmetry.mirrors._reflection import Reflection
from symtheory.symmetry.mirrors._reflections_found import FoundReflections, flip_of, on_axis
from symtheory.symmetry.mirrors._units import Probe
from symtheory.verdict import Derivation, Maps, Status, Subject

_EXCHANGED = 12
_SETS = 10
"""Parameters up to which every set of entries is tried."""

_PAIRS = 24
"""Parameters up to which single entries and pairs of entries are tried."""


def whole_flip(
    judge: Judge, chosen: Sequence[int], found: list[FoundReflections]
) -> FoundReflections | None:
    """Return the flip of some leaves as a whole, which is inferred, unless it has been found."""
    rank = sum(math.prod(judge.probe.shapes[leaf]) for leaf in chosen)
    names = judge.moved_leaves(chosen)
    if any(
        (known.kind, known.count, known.rank) == ("flip", 1, rank)
        and sorted(known.leaves) == sorted(names)
        for known in found
    ):
        return None
    leaves = [-x if k in chosen else x for k, x in enumerate(judge.probe.theta)]
    if not judge.probe.changes(leaves) <= SAME:
        return None

    def project(params: Any) -> Any:
        flat, tree = jax.tree.flatten(params)
        return jax.tree.unflatten(tree, [x if k in chosen else 0 * x for k, x in enumerate(flat)])

    def flipped(leaves: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {n: -x if n in names else x for n, x in leaves.items()}

    name = f"sign flip of {', '.join(name or 'theta' for name in names)}"
    claim = Maps(Subject.of(judge.model), [on_axes(judge.model, flipped)], judge.seed)
    verdict = judge.proved(name, Derivation("inferred from the parities of all operations"), claim)
    if verdict.status is Status.REFUTED:
        return None
    return FoundReflections(name, "flip", rank, 1, names, Reflection(project, name=name), verdict)


def entry_flips(judge: Judge, found: Sequence[FoundReflections]) -> Iterator[FoundReflections]:
    """Return flips of sets of entries, smallest first, that are no products of smaller ones.

    Those of `found` count too. Where every set is tried, each flip of entries on which the loss
    depends is a product of flips that contain no other.
    """
    probe = judge.probe
    sizes = [math.prod(shape) for shape in probe.shapes]
    flat = np.concatenate([leaf.reshape(len(leaf), -1) for leaf in probe.theta], axis=1)
    count = flat.shape[1]
    if not 0 < count <= _PAIRS:
        return

    def split(row: np.ndarray) -> list[np.ndarray]:
        pieces = np.split(row, np.cumsum(sizes)[:-1], axis=-1)
        return [
            np.reshape(x, (*x.shape[:-1], *shape))
            for x, shape in zip(pieces, probe.shapes, strict=True)
        ]

    def unchanged(entries: tuple[int, ...], factor: float) -> bool:
        moved = flat.copy()
        moved[:, list(entries)] *= factor
        return probe.changes(split(moved)) <= SAME

    known = [one for one in _flipped(probe, found) if one]
    used = [i for i in range(count) if not unchanged((i,), 1.7)]
    for size in range(1, (count if count <= _SETS else 2) + 1):
        for entries in itertools.combinations(used, size):
            chosen_set = frozenset(entries)
            if any(one <= chosen_set for one in known) or not unchanged(entries, -1.0):
                continue
            if _is_product(chosen_set, known):
                continue
            judge.deadline.check()
            chosen = split(np.isin(np.arange(count), entries).astype(float))
            flip = _entry_flip(judge, chosen, size)
            if flip is not None:
                known.append(chosen_set)
                yield flip


def _is_product(entries: frozenset[int], known: Sequence[frozenset[int]]) -> bool:
    """Tell whether a flip is a product of those known that contain no other one."""
    smallest = [one for one in known if not any(other < one for other in known)]
    basis: list[int] = []  # over the field of two elements, a bit for each entry
    for one in [*smallest, entries]:
        bits = sum(1 << i for i in one)
        for row in basis:
            bits = min(bits, bits ^ row)
        if bits:
            basis = sorted([*basis, bits], reverse=True)
        elif one is entries:
            return True
    return False


def _entry_flip(judge: Judge, chosen: list[np.ndarray], rank: int) -> FoundReflections | None:
    def project(params: Any) -> Any:
        flat, tree = jax.tree.flatten(params)
        return jax.tree.unflatten(tree, [m * x for m, x in zip(chosen, flat, strict=True)])

    places = []
    for name, mask in zip(judge.names, chosen, strict=True):
        for place in np.argwhere(mask):
            index = f"[{', '.join(map(str, place))}]" if len(place) else ""
            places.append(f"{name or 'theta'}{index}")
    moved = judge.moved_leaves(k for k, mask in enumerate(chosen) if np.any(mask))
    name = f"sign flip of {', '.join(places)}"
    return judge.checked(name, "flip", rank, moved, Reflection(project, name=name))


def _flipped(probe: Probe, found: Sequence[FoundReflections]) -> Iterator[frozenset[int]]:
    """Return the entries that each of the flips found changes, member by member."""
    ones = [np.ones(shape) for shape in probe.shapes]
    for flip in [flip for flip in found if flip.kind == "flip"]:
        for unit in range(flip.count):
            moved = list(ones)
            for leaf, axis in flip.axes:
                moved[leaf] = on_axis(np, moved[leaf], flip_of(flip.count, unit), axis)
            if flip.count == 1:
                after = flip.reflection.apply(jax.tree.unflatten(probe.tree, ones))
                moved = [np.asarray(leaf) for leaf in jax.tree.leaves(after)]
            signs = np.concatenate([x.ravel() for x in moved])
            yield frozenset(np.flatnonzero(signs < 0).tolist())


def exchanges(judge: Judge) -> Iterator[FoundReflections]:
    """Return the exchanges of two leaves of the same shape, or of transposed shapes."""
    shapes = judge.probe.shapes[:_EXCHANGED]
    for a, b in itertools.combinations(range(len(shapes)), 2):
        for turn in (False, True) if len(shapes[a]) == 2 else (False,):
            if (shapes[b][::-1] if turn else shapes[b]) != shapes[a]:
                continue
            judge.deadline.check()
            for sign in (1, -1):
                exchange = _exchange(judge, a, b, turn, sign)
                if exchange is not None:
                    yield exchange


def _exchange(judge: Judge, a: int, b: int, turn: bool, sign: int) -> FoundReflections | None:
    leaves = list(judge.probe.theta)
    flip = (lambda x: np.swapaxes(x, -1, -2)) if turn else (lambda x: x)
    leaves[a], leaves[b] = sign * flip(leaves[b]), sign * flip(leaves[a])
    if not judge.probe.changes(leaves) <= SAME:
        return None

    def project(params: Any) -> Any:
        flat, tree = jax.tree.flatten(params)
        out = [0 * leaf for leaf in flat]
        half = (flat[a] - sign * (flat[b].T if turn else flat[b])) / 2
        out[a], out[b] = half, -sign * (half.T if turn else half)
        return jax.tree.unflatten(tree, out)

    how = (" transposed" if turn else "") + ("" if sign > 0 else " with both signs changed")
    name = f"exchange of {judge.names[a]} and {judge.names[b]}{how}"
    rank = math.prod(judge.probe.shapes[a])
    leaves_ = (judge.names[a], judge.names[b])
    return judge.checked(name, "exchange", rank, leaves_, Reflection(project, name=name))
