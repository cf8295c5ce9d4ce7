"""Prove actions along axes at any size, by following the matrices through the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr

from symtheory.errors import UnreadableError
from symtheory.readings import Deadline, read
from symtheory.symmetry.conservation._actions import UNIT, Actions, NotEquivariantError, acted

_BATCH = 2**20
"""Entries of a stack of matrices that are followed at a time."""

Rates = Mapping[tuple[int, int], tuple[Fraction, Fraction]]
"""By (leaf, axis): rates (r, t) of the action of r E_pq + t E_qp."""


def mixing_is_proved(
    loss: ClosedJaxpr, structures: Sequence[Any], rates: Rates, size: int, deadline: Deadline
) -> bool:
    """Prove r E_pq + t E_qp for all p != q, from neighbours q = p +- 1.

    Symmetries form a group, so brackets of generators are generators: with the rescalings of
    single units or without, neighbours generate all pairs.

    Args:
        loss: The loss of the given arguments, traced.
        structures: Parameters, sample and open constants.
        rates: What acts where.
        size: Number of units.
        deadline: A time limit.
    """
    pairs = [(p, p + 1) for p in range(size - 1)] + [(p + 1, p) for p in range(size - 1)]
    step = max(_BATCH // (size * size), 1)
    return all(
        _invariant(loss, structures, rates, size, pairs[start : start + step], deadline)
        for start in range(0, len(pairs), step)
    )


def units_are_proved(
    loss: ClosedJaxpr, structures: Sequence[Any], rates: Mapping[tuple[int, int], Fraction],
    size: int, units: Sequence[int], deadline: Deadline,
) -> bool:  # fmt: skip
    """Prove the rescalings of single units, with these rates by (leaf, axis)."""
    pairs = [(p, p) for p in units]
    both = {place: (rate, Fraction(0)) for place, rate in rates.items()}
    step = max(_BATCH // (size * size), 1)
    return all(
        _invariant(loss, structures, both, size, pairs[start : start + step], deadline)
        for start in range(0, len(pairs), step)
    )


def _invariant(
    loss: ClosedJaxpr, structures: Sequence[Any], rates: Rates, size: int,
    pairs: Sequence[tuple[int, int]], deadline: Deadline,
) -> bool:  # fmt: skip
    count = len(pairs)
    domain = Actions(count)
    params, *rest = structures
    arguments = []
    p, q = (np.array([pair[n] for pair in pairs]) for n in range(2))
    for leaf, struct in enumerate(jax.tree.leaves(params)):
        axes: dict[int, np.ndarray] = {}
        for (owner, axis), (r, t) in rates.items():
            if owner != leaf:
                continue
            stack = axes.setdefault(axis, np.zeros((count, size, size), dtype=np.int64))
            if (r * UNIT).denominator != 1 or (t * UNIT).denominator != 1:
                return False
            stack[np.arange(count), p, q] += int(r * UNIT)
            stack[np.arange(count), q, p] += int(t * UNIT)
        arguments.append(acted(tuple(struct.shape), np.zeros(count, dtype=np.int64), axes))
    arguments += [domain.invariant(tuple(s.shape)) for s in jax.tree.leaves(rest)]
    try:
        [out] = read(loss, domain, arguments, deadline)
    except (NotEquivariantError, UnreadableError):
        return False
    return bool(domain.lift(out).is_invariant)
