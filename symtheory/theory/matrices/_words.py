"""Terms of the index domain as matrix words: U^T Gamma U, Tr[...], |...|^2, outer products.

A component whose summed indices occur twice each, between tensors of at most two axes, is a word:
open between two axes, or closed as a trace. Anything else (elementwise products, more axes) has no
word and is printed with its indices.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from symtheory.domains.tensors import IndexTerm, Tensor
from symtheory.domains.tensors._terms import Component


@dataclasses.dataclass(frozen=True, order=True)
class Letter:
    """A tensor in a word, perhaps transposed."""

    tensor: Tensor
    transposed: bool = False

    def turned(self) -> Letter:
        """Return the transpose."""
        flips = len(self.tensor.sizes) == 2 and not self.tensor.symmetric
        return Letter(self.tensor, not self.transposed) if flips else self


Word = tuple[Letter, ...]


def turned(word: Word) -> Word:
    """Return the transpose of a word."""
    return tuple(letter.turned() for letter in reversed(word))


@dataclasses.dataclass(frozen=True)
class MatrixTerm:
    """A product of numbers and at most one matrix.

    Attributes:
        scalars: Scalar tensors, words between vectors and (closed) words under a trace.
        squares: Words w that occur as the squared norm |w|^2.
        rows: The words on the axes: one word from axis 0 to axis 1, or a vector word on each axis.
        identity: Whether the matrix is the identity.
        powers: Powers of named sizes.
    """

    scalars: tuple[tuple[str, Word], ...]
    squares: tuple[Word, ...]
    rows: tuple[Word, ...]
    identity: bool
    powers: tuple[tuple[str, int], ...]


def matrix_term(term: IndexTerm, axes: int) -> MatrixTerm | None:
    """Return a term as words, None if it has elementwise products or too many axes."""
    if axes > 2 or (term.deltas and term.deltas != ((0, 1),)):
        return None
    scalars, squares, rows = [], [], {}
    for part in term.components:
        read = _read_component(part)
        if read is None:
            return None
        kind, word, ends = read
        if kind == "open":
            if any(end in rows for end in ends):
                return None
            if ends == (1, 0):
                word, ends = turned(word), (0, 1)
            rows.update(dict.fromkeys(ends, word))
        elif (half := _half(word, kind)) is not None:
            squares.append(half)
        else:
            scalars.append((kind, word))
    covered = set(rows) | {axis for pair in term.deltas for axis in pair}
    if covered != set(range(axes)) or (term.deltas and rows):
        return None
    distinct = (
        (rows[0],) if rows.get(0) is rows.get(1) and rows else tuple(rows[a] for a in sorted(rows))
    )
    return MatrixTerm(
        tuple(sorted(scalars)), tuple(sorted(squares)), distinct, bool(term.deltas), term.powers
    )


def _read_component(part: Component) -> tuple[str, Word, tuple[int, ...]] | None:
    """Return ("open" | "trace" | "form" | "scalar", word, free axes in the order of the word)."""
    if any(len(labels) > 2 for _, labels in part):
        return None
    places: dict[int, list[tuple[int, int]]] = {}
    for k, (_, labels) in enumerate(part):
        for position, label in enumerate(labels):
            places.setdefault(label, []).append((k, position))
    if any(len(where) != (2 if label < 0 else 1) for label, where in places.items()):
        return None
    if not places:
        return ("scalar", (Letter(part[0][0]),), ()) if len(part) == 1 else None
    free = sorted(label for label in places if label >= 0)
    vectors = [k for k, (_, labels) in enumerate(part) if len(labels) == 1]
    if free:
        start, entry = places[free[0]][0]
    elif vectors:
        start, entry = vectors[0], 0
    else:
        start, entry = 0, 0
    word: list[Letter] = []
    ends = [free[0]] if free else []
    k, position = start, entry
    if vectors and not free:
        word.append(Letter(part[k][0]))
        label = part[k][1][0]
        k, position = next(place for place in places[label] if place != (k, 0))
    visited = set()
    while True:
        visited.add(k)
        tensor, labels = part[k]
        if len(labels) == 1:
            word.append(Letter(tensor))
            break
        # Entering at the second axis means reading the matrix transposed.
        word.append(Letter(tensor, position == 1 and not tensor.symmetric))
        label = labels[1 - position]
        if label >= 0:
            ends.append(label)
            break
        k, position = next(place for place in places[label] if place != (k, 1 - position))
        if k == start and not free and not vectors:
            break
    kind = "open" if free else "form" if vectors else "trace"
    return kind, _least(tuple(word), kind), tuple(ends)


def _least(word: Word, kind: str) -> Word:
    """Choose one of the ways to write the same number."""
    if kind == "form":
        return min(word, turned(word))
    if kind == "trace":
        turns = [word[i:] + word[:i] for i in range(len(word))]
        return min([*turns, *(turned(w) for w in turns)])
    return word


def _half(word: Word, kind: str) -> Word | None:
    """Return w if the number is |w|^2, None otherwise."""
    if kind not in ("trace", "form") or len(word) % 2:
        return None
    middle = len(word) // 2
    turns: Sequence[Word] = [word]
    if kind == "trace":
        turns = [word[i:] + word[:i] for i in range(len(word))]
    halves = [w[middle:] for w in turns if turned(w[middle:]) == w[:middle]]
    return min(halves, key=lambda w: (sum(x.transposed for x in w), w), default=None)
