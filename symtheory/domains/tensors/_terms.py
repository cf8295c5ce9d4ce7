"""Products of named tensors with free and summed indices, in a form in which equals are equal.

A term is a multiset of connected components: factors that share a summed index belong together.
Free indices are the axes 0, 1, ... of the value; summed ones are -1, -2, ..., counted within each
component. An index may occur any number of times (an elementwise product repeats one). Which
summed index is which is settled by canonical labelling, so two terms are equal as expressions, for
all sizes and all tensors, exactly when their forms are.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from flint import fmpq

from symtheory.shapes import Size


class Tensor(NamedTuple):
    """A named array: its kind ("param", "sample", "constant", ...), name, sizes and symmetry."""

    kind: str
    name: str
    sizes: tuple[Size, ...]
    symmetric: bool = False


Factor = tuple[Tensor, tuple[int, ...]]
Component = tuple[Factor, ...]


class IndexTerm(NamedTuple):
    """Components, Kronecker deltas between free axes, and powers of named sizes."""

    components: tuple[Component, ...] = ()
    deltas: tuple[tuple[int, int], ...] = ()
    powers: tuple[tuple[str, int], ...] = ()


ONE = IndexTerm()


def normal_term(
    factors: Iterable[Factor],
    pairs: Iterable[tuple[int, int]],
    axes: Sequence[int],
    sizes: Mapping[int, Size],
    powers: Mapping[str, int],
) -> tuple[fmpq, IndexTerm]:
    """Return the normal form of a product and the number it is to be multiplied by.

    Args:
        factors: Tensors with labels, any integers.
        pairs: Kronecker deltas between labels.
        axes: The labels that stay free, one per axis; all others are summed.
        sizes: The size of every label.
        powers: Powers of named sizes.
    """
    root: dict[int, int] = {label: label for label in sizes}

    def find(label: int) -> int:
        while root[label] != label:
            label = root[label]
        return label

    for a, b in pairs:
        root[find(a)] = find(b)
    first: dict[int, int] = {}
    deltas = []
    for axis, label in enumerate(axes):
        leader = first.setdefault(find(label), axis)
        if leader != axis:
            deltas.append((leader, axis))
    relabelled = []
    summed: dict[int, int] = {}
    for tensor, labels in factors:
        places = []
        for r in (find(label) for label in labels):
            places.append(first[r] if r in first else summed.setdefault(r, -1 - len(summed)))
        relabelled.append((tensor, tuple(places)))
    number, exponents = fmpq(1), dict(powers)
    for r in {find(label) for label in sizes} - set(summed) - set(first):
        size = sizes[r]
        if isinstance(size, int):
            number *= size
        else:
            exponents[size] = exponents.get(size, 0) + 1
    components = tuple(sorted(_canonical(part) for part in _connected(relabelled)))
    left = tuple(sorted((name, n) for name, n in exponents.items() if n))
    return number, IndexTerm(components, tuple(deltas), left)


def _connected(factors: list[Factor]) -> list[Component]:
    """Group factors that share a summed index."""
    groups: list[tuple[set[int], list[Factor]]] = []
    for factor in factors:
        summed = {label for label in factor[1] if label < 0}
        joined, rest = [factor], []
        for labels, members in groups:
            if labels & summed:
                summed |= labels
                joined = members + joined
            else:
                rest.append((labels, members))
        groups = [*rest, (summed, joined)]
    return [_first_seen(members) for _, members in groups]


def _first_seen(factors: list[Factor]) -> Component:
    """Number the summed indices as they come, so that the cache below is hit often."""
    order = sorted(factors, key=lambda factor: factor[0])
    seen: dict[int, int] = {}
    return tuple(
        (
            tensor,
            tuple(i if i >= 0 else seen.setdefault(i, -1 - len(seen)) for i in labels),
        )
        for tensor, labels in order
    )


@functools.lru_cache(maxsize=65536)
def _canonical(component: Component) -> Component:
    summed = {label for _, labels in component for label in labels if label < 0}
    return _search(component, dict.fromkeys(summed, 0))


def _search(component: Component, colors: dict[int, int]) -> Component:
    """Return the least relabelling among those that refinement cannot tell apart."""
    colors = _refine(component, colors)
    least, seen = None, set()
    for choice in _singled_out(colors):
        # Two choices with the same relabelling somewhere below are exchanged by a symmetry of the
        # component that keeps the colours, so that one of them stands for both.
        example = _descend(component, choice)
        if example not in seen:
            seen.add(example)
            found = _search(component, choice)
            least = found if least is None else min(least, found)
    return _relabelled(component, colors) if least is None else least


def _descend(component: Component, colors: dict[int, int]) -> Component:
    """Return one of the relabellings, whichever comes first."""
    colors = _refine(component, colors)
    while choice := next(_singled_out(colors), None):
        colors = _refine(component, choice)
    return _relabelled(component, colors)


def _singled_out(colors: dict[int, int]) -> Iterator[dict[int, int]]:
    """Yield the colourings that single out one member of the first class that has several."""
    classes: dict[int, list[int]] = {}
    for label, color in colors.items():
        classes.setdefault(color, []).append(label)
    tied = min((c for c, members in classes.items() if len(members) > 1), default=None)
    if tied is None:
        return
    # A colour between the classes singles one member out.
    doubled = {label: 2 * color for label, color in colors.items()}
    for label in classes[tied]:
        yield {**doubled, label: doubled[label] - 1}


def _relabelled(component: Component, colors: dict[int, int]) -> Component:
    names = {label: -1 - rank for rank, label in enumerate(sorted(colors, key=colors.__getitem__))}
    return tuple(
        sorted(_ordered(tensor, tuple(names.get(i, i) for i in idx)) for tensor, idx in component)
    )


def _ordered(tensor: Tensor, labels: tuple[int, ...]) -> Factor:
    return tensor, tuple(sorted(labels)) if tensor.symmetric else labels


def _refine(component: Component, colors: dict[int, int]) -> dict[int, int]:
    """Split colour classes by where their indices occur, until nothing splits."""
    while True:
        marks: dict[int, list[tuple[object, ...]]] = {label: [] for label in colors}
        for tensor, labels in component:
            seen = tuple((1, i) if i >= 0 else (0, colors[i]) for i in labels)
            if tensor.symmetric:
                seen = tuple(sorted(seen))
            for position, label in enumerate(labels):
                if label < 0:
                    # Which positions of the same factor hold this very index.
                    own = tuple(p for p, i in enumerate(labels) if i == label)
                    where = len(own) if tensor.symmetric else (position, own)
                    marks[label].append((tensor, str(where), seen))
        signatures = {label: (colors[label], tuple(sorted(marks[label]))) for label in colors}
        ranks = {s: rank for rank, s in enumerate(sorted(set(signatures.values())))}
        refined = {label: ranks[signature] for label, signature in signatures.items()}
        if len(ranks) == len(set(colors.values())):
            return refined
        colors = refined
