"""Translations theta -> theta + lambda b that a loss does not see: linear conserved quantities."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from symtheory.linear_algebra._modular import PRIME, rank
from symtheory.symmetry.conservation._charges import float_candidates, modular_candidates
from symtheory.symmetry.conservation._enclosed import float_gradients
from symtheory.symmetry.conservation._fields import Fields
from symtheory.symmetry.discovery._proof import Field, Prover, proved
from symtheory.verdict import Status

_LARGEST = 200


def proved_translations(fields: Fields) -> list[np.ndarray]:
    """Return independent integer vectors b with grad l(theta; z) . b = 0, each one proved.

    Terms that are constant along an axis of a leaf are followed until they cancel. Other candidates
    are null vectors of gradients, proved by the normal form of the derivative, for small data sets
    row by row.
    """
    if fields.size > _LARGEST:
        return []
    prover = Prover(fields.model, fields.deadline)
    found, how = [], []
    for place in _axes(fields):
        cancelled = prover.shift([place])
        if cancelled is not None:
            along = _constant_along(fields, *place)
            found += along
            how += [cancelled.how] * len(along)
    # Only what also holds when it is evaluated on the user's own function.
    verdicts = proved(fields.model, [_field(b) for b in found], how)
    held = [v is not None and v.status is Status.PROVED for v in verdicts]
    found = _independent([], [b for b, holds in zip(found, held, strict=True) if holds])
    left = _independent(found, _candidates(fields))
    if left and prover.vanishes([_field(b) for b in left]) is None:
        left = [b for b in left if prover.vanishes([_field(b)]) is not None]
    return [*found, *left]


def _candidates(fields: Fields) -> list[np.ndarray]:
    count = fields.size + 8
    if fields.readable:
        candidates = modular_candidates(fields.gradients(count)[1])
    else:
        _, rows = float_gradients(fields.model, count, fields.seed)
        candidates = float_candidates(rows)
    return [np.array(b, dtype=np.int64) for b in candidates if b is not None and any(b)]


def _independent(known: list[np.ndarray], found: list[np.ndarray]) -> list[np.ndarray]:
    """Return those vectors that the ones before them do not span."""
    out: list[np.ndarray] = []
    for b in found:
        if rank(np.stack([*known, *out, b]) % PRIME) > len(known) + len(out):
            out.append(b)
    return out


def _field(vector: np.ndarray) -> Field:
    return Field({}, {int(i): Fraction(int(vector[i])) for i in np.flatnonzero(vector)})


def _axes(fields: Fields) -> list[tuple[int, int]]:
    return [(leaf, k) for leaf, shape in enumerate(fields.points.shapes) for k in range(len(shape))]


def _constant_along(fields: Fields, leaf: int, axis: int) -> list[np.ndarray]:
    """Return the translations of a leaf that are 1 along an axis, at one place of the others."""
    starts = np.cumsum([0, *(math.prod(shape) for shape in fields.points.shapes)])
    shape = fields.points.shapes[leaf]
    places = np.moveaxis(np.arange(math.prod(shape)).reshape(shape), axis, -1)
    out = []
    for row in places.reshape(-1, shape[axis]):
        vector = np.zeros(fields.size, dtype=np.int64)
        vector[starts[leaf] + row] = 1
        out.append(vector)
    return out
