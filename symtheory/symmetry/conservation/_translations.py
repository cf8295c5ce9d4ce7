"""Translations theta -> theta + lambda b that a loss does not see: linear conserved quantities."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np

from symtheory.symmetry.conservation._charges import float_candidates, modular_candidates
from symtheory.symmetry.conservation._enclosed import float_gradients
from symtheory.symmetry.conservation._fields import Fields
from symtheory.symmetry.discovery._proof import Field, Prover

_LARGEST = 200


def proved_translations(fields: Fields) -> list[np.ndarray]:
    """Return integer vectors b with grad l(theta; z) . b = 0, each one proved.

    Terms that are constant along an axis are followed until they cancel; else the derivative is
    brought to normal form, for small data sets row by row.
    """
    if fields.size > _LARGEST:
        return []
    count = fields.size + 8
    if fields.readable:
        candidates = modular_candidates(fields.gradients(count)[1])
    else:
        _, rows = float_gradients(fields.model, count, fields.seed)
        candidates = float_candidates(rows)
    found = [np.array(b, dtype=np.int64) for b in candidates if b is not None and any(b)]
    prover = Prover(fields.model, fields.deadline)
    left = [b for b in found if not _cancels(prover, fields, b)]
    if left and prover.vanishes([_field(b) for b in left]) is None:
        left = [b for b in left if prover.vanishes([_field(b)]) is None]
        return [b for b in found if not any(b is other for other in left)]
    return found


def _field(vector: np.ndarray) -> Field:
    return Field({}, {int(i): Fraction(int(vector[i])) for i in np.flatnonzero(vector)})


def _cancels(prover: Prover, fields: Fields, vector: np.ndarray) -> bool:
    """Tell whether a translation that is constant along axes of leaves cancels in the loss."""
    shapes = fields.points.shapes
    parts = np.split(vector, np.cumsum([math.prod(shape) for shape in shapes])[:-1])
    places: list[list[tuple[int, int]]] = []
    for leaf, (shape, part) in enumerate(zip(shapes, parts, strict=True)):
        if np.any(part):
            whole = part.reshape(shape)
            axes = [k for k in range(len(shape)) if np.all(whole == np.take(whole, [0], k))]
            places.append([(leaf, axis) for axis in axes])
    return any(prover.shift(chosen) is not None for chosen in itertools.product(*places))
